"""Cgroup directories that come to notice by inotify, or by looking again."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.agent.source import SUSPECT, Roots
from joulebook.agent.workloads.inotify import Event, Inotify
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import HYBRID, V1, V2, FakeCgroups

SECOND_US = 1_000_000


def open_workloads(roots: Roots, open_inotify: Callable[[], Inotify] = Inotify) -> Workloads:
    return Workloads(roots, lookup_user={1000: "ada"}.__getitem__, open_inotify=open_inotify)


def table(workloads: Workloads) -> dict[str, list[int]]:
    """Return the readings of each workload but the agent."""
    rows: dict[str, list[int]] = {}
    for series, value in zip(workloads.series, workloads.read(0), strict=True):
        if series.workload != "agent":
            rows.setdefault(series.workload, []).append(value)
    return rows


@pytest.fixture(params=[V2, V1, HYBRID])
def fake(tmp_path: Path, request: pytest.FixtureRequest) -> FakeCgroups:
    cgroups = FakeCgroups(tmp_path, request.param)
    cgroups.make("/system.slice/old.service", cpu_us=500, memory_bytes=10)
    return cgroups


class Refusing(Inotify):
    """Reaches its limit of watches at once."""

    def watch(self, directory: Path) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(directory))


def no_instance() -> Inotify:
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize(
    ("open_inotify", "sysctl"), [(Refusing, "max_user_watches"), (no_instance, "max_user_instances")]
)
def test_without_inotify_it_looks_again(
    fake: FakeCgroups, open_inotify: Callable[[], Inotify], sysctl: str
) -> None:
    """Where watches run out, newcomers are found within five seconds, and the remedy is named."""
    workloads = open_workloads(fake.roots, open_inotify)
    workloads.refresh(0)
    finding = workloads.probe()[1]
    assert finding.state == SUSPECT
    assert sysctl in finding.fix
    fake.make("/batch", cpu_us=7)
    assert not workloads.refresh(SECOND_US)
    assert workloads.refresh(5 * SECOND_US)
    # It may be older than the previous tick: what it used before is not of this interval.
    start = dict(zip(workloads.series, workloads.baseline(), strict=True))
    assert next(value for series, value in start.items() if series.workload == "cgroup.batch") == 7
    fake.remove("/batch")
    assert not workloads.refresh(6 * SECOND_US)
    assert not workloads.refresh(10 * SECOND_US)
    workloads.read(10 * SECOND_US)
    assert workloads.refresh(11 * SECOND_US)
    workloads.close()


class Overflowing(Inotify):
    """Loses its events when told to."""

    lost = False

    def events(self) -> list[Event]:
        events = super().events()
        if not self.lost:
            return events
        self.lost = False
        return [Event(-1, "", overflow=True)]


def test_lost_events_make_it_look_everywhere(fake: FakeCgroups) -> None:
    """After the kernel's queue overflowed nothing stays unknown, gone or mistaken for its successor."""
    inotify = Overflowing()
    workloads = open_workloads(fake.roots, lambda: inotify)
    workloads.refresh(0)
    workloads.read(0)
    fake.make("/batch", cpu_us=7)
    fake.remove("/system.slice")
    fake.make("/system.slice/old.service", cpu_us=1)
    inotify.lost = True
    assert workloads.refresh(SECOND_US)
    readings = table(workloads)
    assert (readings["cgroup.batch"][0], readings["unit.old.service"][0]) == (7, 501)
    fake.make("/system.slice/later.service", cpu_us=2)
    assert workloads.refresh(2 * SECOND_US), "the directory made anew is watched"
    workloads.close()
