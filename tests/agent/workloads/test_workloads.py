"""Readings of workloads against what they truly used, for any coming and going, and on real cgroups."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.source import Roots
from joulebook.agent.workloads.column import CPU, FileColumn
from joulebook.agent.workloads.figures import parse_cpuacct_usage_ns
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import HYBRID, V2, FakeCgroups

PATHS = (
    "/batch",
    "/docker/" + "ab" * 32,
    "/docker/" + "12" * 32,
    "/kubepods/pod-1/" + "cd" * 32,
    "/system.slice/a.service",
    "/system.slice/docker-" + "34" * 32 + ".scope",
)
# One that stays beside each, so that all that contains workloads is known from the start.
STAYING = (
    "/stay",
    "/docker/" + "99" * 32,
    "/kubepods/pod-1/" + "98" * 32,
    "/system.slice/docker-" + "97" * 32 + ".scope",
)
ACTIONS = st.one_of(
    st.tuples(st.just("make"), st.sampled_from(PATHS), st.integers(0, 50)),
    st.tuples(st.just("remove"), st.sampled_from(PATHS), st.just(0)),
    st.tuples(st.just("use"), st.sampled_from(PATHS), st.integers(0, 1000)),
    st.tuples(st.just("tick"), st.just(""), st.just(0)),
)


class Truth:
    """Does what the kernel does, and keeps what each series must show at each tick."""

    def __init__(self, fake: FakeCgroups) -> None:
        self._fake = fake
        self._live: dict[str, int] = {}
        self._seen: dict[str, int] = {}  # of the life that goes on, what a tick has read
        self._ended: dict[str, int] = {}  # what went since the last tick used since then
        self._kept: dict[str, int] = {}  # what groups above show
        self.due: dict[str, int] = {}

    def act(self, action: str, path: str, amount: int) -> None:
        if action == "make" and path not in self._live:
            self._live[path], self._seen[path] = amount, 0
            self._fake.make(path, cpu_us=amount)
            self._count(path, amount)
        elif action == "remove" and path in self._live:
            used = self._live.pop(path) - self._seen[path]
            self._ended[path] = self._ended.get(path, 0) + used
            self._fake.remove(path)
        elif action == "use" and path in self._live:
            self._live[path] += amount
            self._fake.show(path, cpu_us=self._live[path])
            self._count(path, amount)

    def _count(self, path: str, amount: int) -> None:
        above = path
        while above:
            above = above.rpartition("/")[0]
            self._kept[above] = self._kept.get(above, 0) + amount
            self._fake.show(above, cpu_us=self._kept[above])

    def tick(self) -> tuple[set[str], dict[str, dict[str, int]]]:
        """Return what there is to see, and by what contained it what went used last."""
        for path, used in self._live.items():
            self.due[path] = self.due.get(path, 0) + used - self._seen[path]
            self._seen[path] = used
        ended: dict[str, dict[str, int]] = {}
        for path, used in self._ended.items():
            ended.setdefault(path.rpartition("/")[0], {})[path] = used
        seen = set(self._live) | set(self._ended)
        self._ended = {}
        return seen, ended


IDS = dict(
    zip(
        PATHS,
        (
            "cgroup.batch",
            "docker.abababababab",
            "docker.121212121212",
            "containerd.cdcdcdcdcdcd",
            "unit.a.service",
            "docker.343434343434",
        ),
        strict=True,
    )
)


@settings(max_examples=300, deadline=None)
@given(
    version=st.sampled_from([V2, HYBRID]),
    fewest=st.sampled_from([1, 2, 100]),
    actions=st.lists(ACTIONS, max_size=40),
)
def test_readings_are_the_truth(version: str, fewest: int, actions: list[tuple[str, str, int]]) -> None:
    """Whatever comes, goes or does both in a tick: no series falls, and each shows the whole use.

    Of those that end together below one group, the sum is whole. fewest: of how many groups the one that
    contains them tells whether they are to be read.
    """
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr("joulebook.agent.workloads.readings.FEWEST", fewest)
        fake = FakeCgroups(Path(directory), version)
        for path in STAYING:
            fake.make(path)
        for path in ("", "/docker", "/kubepods", "/kubepods/pod-1", "/system.slice"):
            fake.show(path, cpu_us=0)
        workloads = Workloads(fake.roots)
        truth = Truth(fake)
        last: dict[str, int] = {}
        unsure_us = 0
        try:
            workloads.refresh(0)
            workloads.read(0)
            for action, path, amount in [*actions, ("tick", "", 0)]:
                if action != "tick":
                    truth.act(action, path, amount)
                    continue
                changed = workloads.refresh(0)
                start = _cpu(workloads, workloads.baseline())
                now = _cpu(workloads, workloads.read(0))
                seen, ended = truth.tick()
                assert set(now) == {IDS[path] for path in seen}
                if changed:
                    assert start == {each: last.get(each, 0) for each in now}
                for group in ended.values():
                    shares = {path: now[IDS[path]] - truth.due.get(path, 0) for path in group}
                    assert sum(shares.values()) == sum(group.values())
                    assert min(shares.values()) >= 0
                    unsure_us += sum(group.values()) if len(group) > 1 else 0
                    for each, share in shares.items():
                        truth.due[each] = truth.due.get(each, 0) + share
                assert now == {IDS[path]: truth.due[path] for path in seen}
                assert workloads.unsure_us == unsure_us
                last |= now
        finally:
            workloads.close()


def _cpu(workloads: Workloads, values: list[int]) -> dict[str, int]:
    pairs = zip(workloads.series, values, strict=True)
    ours = ("cgroup.jb-", "unit.jb-", *IDS.values())
    return {s.workload: v for s, v in pairs if s.metric == CPU and s.workload.startswith(ours)}


BURN = """
import os, sys, time
for path in sys.argv[2:]:
    with open(path, "w") as procs:
        procs.write(str(os.getpid()))
before = time.process_time()
while time.process_time() - before < float(sys.argv[1]):
    pass
"""


def burn(seconds: float, *groups: Path) -> None:
    """Use CPU time in groups."""
    arguments = [str(group / "cgroup.procs") for group in groups]
    subprocess.run([sys.executable, "-S", "-c", BURN, str(seconds), *arguments], check=True)


def test_real_cgroups_show_their_cpu_time(cgroup: Callable[[str], Path]) -> None:
    """The CPU time of real groups, old and new, is the kernel's own, to the microsecond."""
    token = os.urandom(4).hex()
    old = cgroup(f"/jb-old-{token}")
    burn(0.03, old)
    workloads = Workloads(Roots())
    workloads.refresh(0)
    first = _cpu(workloads, workloads.read(0))[f"cgroup.jb-old-{token}"]
    assert first >= 30_000
    new = cgroup(f"/system.slice/jb-{token}.service")
    burn(0.05, new)
    burn(0.02, old)
    assert workloads.refresh(1)
    assert _cpu(workloads, workloads.baseline())[f"unit.jb-{token}.service"] == 0
    now = _cpu(workloads, workloads.read(0))
    assert now[f"unit.jb-{token}.service"] == _kernel_us(new)
    assert now[f"cgroup.jb-old-{token}"] == _kernel_us(old)
    assert now[f"cgroup.jb-old-{token}"] - first >= 20_000
    new.rmdir()
    assert workloads.read(0), "a group that is gone keeps its last value"
    workloads.refresh(2)
    workloads.close()


def _kernel_us(group: Path) -> int:
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) // 1000
    return int((group / "cpu.stat").read_text().split()[1])


def test_memory_of_newcomers_is_read_at_once_and_of_others_in_turn(tmp_path: Path) -> None:
    """A new workload's memory shows at each of its first ticks, an old one's at every fifth."""
    fake = FakeCgroups(tmp_path, V2)
    fake.make("/batch", memory_bytes=1)
    workloads = Workloads(fake.roots)
    workloads.refresh(0)
    place = next(i for i, series in enumerate(workloads.series) if series.workload == "cgroup.batch") + 1
    for size in range(2, 7):
        fake.show("/batch", cpu_us=0, memory_bytes=size)
        assert workloads.read(0)[place] == size
    for _ in range(5):
        workloads.read(0)
    fake.show("/batch", cpu_us=0, memory_bytes=99)
    shown = [workloads.read(0)[place] for _ in range(5)]
    assert 0 < shown.count(99) <= 5
    assert shown[-1] == 99
    assert shown.count(6) == 5 - shown.count(99)
    workloads.close()


def test_column_closes_what_it_cannot_read(tmp_path: Path) -> None:
    """A file of another shape is an error and leaves no descriptor open."""
    (tmp_path / "cpuacct.usage").write_text("nonsense\n")
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    with pytest.raises(ValueError, match="nonsense"):
        FileColumn(CPU, str(tmp_path / "cpuacct.usage"), parse_cpuacct_usage_ns, 32, base=0, fresh=False)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_thousands_of_groups_leave_nothing(tmp_path: Path) -> None:
    """Workloads that come and go by the hundred leave no descriptor and no series behind."""
    fake = FakeCgroups(tmp_path, V2)
    workloads = Workloads(fake.roots)
    workloads.refresh(0)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    for n in range(300):
        fake.make(f"/system.slice/job-{n}.scope", cpu_us=n)
        workloads.refresh(n)
        workloads.read(n)
        fake.remove(f"/system.slice/job-{n}.scope")
    workloads.refresh(300)
    assert len(workloads.series) == 5, "the last one stays for the interval that it ended in"
    workloads.read(300)
    workloads.refresh(301)
    assert len(workloads.series) == 2
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208
    workloads.close()
