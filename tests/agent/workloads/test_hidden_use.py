"""Use that comes between any two readings: it shows in the tick or soon after, and none is lost."""

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from joulebook.agent.source import Metric
from joulebook.agent.workloads.column import CPU, IO
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import V1, V2, FakeCgroups

_COUNT = 8
_NAMES = [f"{number:012x}{0:052x}" for number in range(_COUNT)]
# Side by side; most in a pod that speaks for its own, below what speaks for all; and one level deeper.
_FLAT = [f"/docker/{name}" for name in _NAMES]
_PODS = [f"/kubepods/pod{max(number - 4, 0)}/{name}" for number, name in enumerate(_NAMES)]
_DEEP = [f"/kubepods/burstable/pod{number // 5}/{name}" for number, name in enumerate(_NAMES[:-1])]
_DEEP.append(f"/kubepods/pod2/{_NAMES[-1]}")
_LEVELS = {_FLAT[0]: 1, _PODS[0]: 2, _DEEP[0]: 3}

_TICKS = 30

# Who runs and for how long, in the unit that the kernel counts in.
_Run = tuple[int, int]


class Kernel:
    """Groups whose counters grow as the kernel's do: a group's own first, then those around it."""

    def __init__(self, fake: FakeCgroups, paths: list[str]) -> None:
        self._fake = fake
        self._paths = paths
        self.per = 1000 if fake.version == V1 else 1
        self._counts: dict[str, int] = {}
        self.used = [0] * len(paths)
        self.later: Iterator[_Run | None] = iter(())
        # What ran between the readings of the tick.
        self.between = 0
        for number, path in enumerate(paths):
            fake.make(path)
            self.run(number, 1)

    def run(self, number: int, amount: int) -> None:
        self.used[number] += amount
        path = self._paths[number]
        while path:
            self._counts[path] = self._counts.get(path, 0) + amount
            self._write(path)
            path = path.rpartition("/")[0]

    def make_anew(self, number: int) -> None:
        path = self._paths[number]
        self._fake.remove(path)
        self._counts[path] = 0
        self._fake.make(path)
        self._write(path)

    def go_on(self) -> None:
        if (run := next(self.later, None)) is not None:
            self.run(*run)
            self.between += run[1]

    def _write(self, path: str) -> None:
        directory, count = self._fake.directories(path)[0], self._counts[path]
        if self._fake.version == V1:
            (directory / "cpuacct.usage").write_text(f"{count}\n")
        else:
            (directory / "cpu.stat").write_text(f"usage_usec {count}\nuser_usec 0\n")
            (directory / "io.stat").write_text(f"8:0 rbytes={count} wbytes=0 rios=0 wios=0\n")


def _shown(workloads: Workloads, values: list[int], metric: Metric) -> list[int]:
    found = {
        series.workload.rpartition(".")[2]: value
        for series, value in zip(workloads.series, values, strict=True)
        if series.metric == metric
    }
    return [found[name[:12]] for name in _NAMES]


def _runs(chance: random.Random, busy: int) -> list[_Run | None]:
    """Return what runs, of groups of which the first ones run most."""
    return [
        (min(chance.randrange(_COUNT), chance.randrange(_COUNT)), chance.randrange(1, 3_000))
        if chance.randrange(10) < busy
        else None
        for _ in range(chance.randrange(6))
    ]


@settings(max_examples=150, deadline=None)
@given(
    version=st.sampled_from([V1, V2]),
    paths=st.sampled_from([_FLAT, _PODS, _DEEP]),
    busy=st.integers(0, 9),
    seed=st.integers(0, 1 << 32),
)
# A pod's second reading had what its container used after its own: all showed it above, and nothing below.
@example(V2, _PODS, 2, 62)
def test_what_is_hidden_shows_soon(version: str, paths: list[str], busy: int, seed: int) -> None:
    """Whoever runs before, between and after the readings of a tick: each is a tick late at most, for each
    level of groups that speak for it, but for as much as others run between that tick's readings.

    Never more than it used is told, and all of it once nobody runs for as many ticks.
    """
    chance = random.Random(seed)
    levels = _LEVELS[paths[0]]
    metrics = [CPU] if version == V1 else [CPU, IO]
    pread = os.pread
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        fake = FakeCgroups(Path(directory), version)
        kernel = Kernel(fake, paths)
        workloads = Workloads(fake.roots)

        def read(fd: int, size: int, offset: int) -> bytes:
            raw = pread(fd, size, offset)
            kernel.go_on()
            return raw

        patch.setattr("joulebook.agent.workloads.column.os.pread", read)
        begins = [[0] * _COUNT] * (levels + 1)
        # A group that is made anew is one that ended: what it used last is told from what contained it.
        lasting = set(range(_COUNT))
        try:
            workloads.refresh(0)
            workloads.read(0)
            for tick in range(_TICKS):
                kernel.between = 0
                if tick < _TICKS - levels:
                    for run in filter(None, _runs(chance, busy)):
                        kernel.run(*run)
                    kernel.later = iter(_runs(chance, busy))
                    if not chance.randrange(20):
                        anew = chance.randrange(_COUNT)
                        kernel.make_anew(anew)
                        lasting.discard(anew)
                begins.append(list(kernel.used))
                workloads.refresh(0)
                values = workloads.read(0)
                kernel.later = iter(())
                for metric in metrics:
                    per = kernel.per if metric == CPU else 1
                    shown = _shown(workloads, values, metric)
                    for number in lasting:
                        hidden = begins[-1 - levels][number] - shown[number] * per
                        # What is read later than what speaks for it covers for as much of another's.
                        assert hidden < kernel.between + per
                        assert shown[number] <= kernel.used[number] // per
                        assert tick < _TICKS - 1 or shown[number] == kernel.used[number] // per
        finally:
            workloads.close()
