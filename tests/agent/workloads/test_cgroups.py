"""The workloads of whole nodes, and how they come and go."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.agent.source import ABSENT, WORKING, Roots
from joulebook.agent.workloads.inotify import Inotify
from joulebook.agent.workloads.settings import WorkloadsConfig
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import HYBRID, V1, V2, FakeCgroups, build

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


def parents(workloads: Workloads) -> dict[str, str]:
    return {each.id: each.parent for each in workloads.workloads if each.parent}


NODES = {
    "v2-systemd": {
        "unit.init.scope": [1000, 5000000, 0],
        "unit.sshd.service": [20000, 4000000, 4096],
        "unit.getty@tty1.service": [100, 200000, 0],
        "docker.3f2a3f2a3f2a": [5000000, 100000000, 1048576],
        "user.ada": [7000000, 300000000, 8192],
        "podman.b0b0b0b0b0b0": [2000000, 50000000, 0],
        "machine.web": [8000000, 2000000000, 0],
        "podman.c1c1c1c1c1c1": [300, 400, 0],
        f"unit.libpod-conmon-{'c1' * 32}.scope": [30, 40, 0],
        "cgroup.batch": [11, 12, 13],
    },
    "v2-kubernetes": {
        "unit.containerd.service": [1, 2, 0],
        "unit.kubelet.service": [3, 4, 0],
        "k8s.0a1b2c3d-1111-2222-3333-444455556666": [13, 15, 17],
        "k8s.ffffffff-1111-2222-3333-444455556666": [12, 13, 14],
    },
    "v1-docker": {
        "docker.3f2a3f2a3f2a": [5000000, 100000000],  # no throttle rule: the kernel counts no IO
        "docker.b0b0b0b0b0b0": [6, 7, 8],
        "podman.c1c1c1c1c1c1": [9, 10],
        "unit.conmon": [1, 1],
        "containerd.redis": [2, 3],
        "k8s.0a1b2c3d-1111-2222-3333-444455556666": [15, 16, 17],
    },
    "hybrid-systemd": {"unit.init.scope": [1, 2], "unit.cron.service": [3, 4], "user.ada": [5, 6]},
}


@pytest.mark.parametrize("layout", NODES)
def test_node_shows_its_workloads(tmp_path: Path, layout: str) -> None:
    """Each kind of node gives its workloads with CPU time, memory, and IO where it is counted."""
    workloads = open_workloads(build(layout, tmp_path).roots)
    assert workloads.refresh(0)
    assert workloads.baseline()[2:] == workloads.read(0)[2:]  # the first two are the agent's own
    assert table(workloads) == NODES[layout]
    workloads.close()


def test_nested_workloads_name_what_contains_them(tmp_path: Path) -> None:
    """A user's own container has the user as parent; others stand alone."""
    workloads = open_workloads(build("v2-systemd", tmp_path).roots)
    workloads.refresh(0)
    assert parents(workloads) == {"podman.b0b0b0b0b0b0": "user.ada"}
    workloads.close()


@pytest.fixture(params=[V2, V1, HYBRID])
def fake(tmp_path: Path, request: pytest.FixtureRequest) -> FakeCgroups:
    cgroups = FakeCgroups(tmp_path, request.param)
    cgroups.make("/system.slice/old.service", cpu_us=500, memory_bytes=10)
    return cgroups


def test_newcomer_begins_at_nothing(fake: FakeCgroups) -> None:
    """All that a workload used since the previous tick belongs to the interval in which it appeared."""
    workloads = open_workloads(fake.roots)
    workloads.refresh(0)
    workloads.read(0)
    fake.make("/system.slice/new.service", cpu_us=70, memory_bytes=7)
    assert workloads.refresh(SECOND_US)
    start = dict(zip(workloads.series, workloads.baseline(), strict=True))
    assert [value for series, value in start.items() if series.workload == "unit.new.service"] == [0, 7] + [
        0
    ] * (fake.version == V2)
    assert table(workloads)["unit.new.service"][:2] == [70, 7]
    assert not workloads.refresh(2 * SECOND_US)
    workloads.close()


def test_those_that_stay_begin_where_the_previous_tick_left_them(fake: FakeCgroups) -> None:
    """A new layout repeats the last readings of the workloads that it shares with the one before."""
    workloads = open_workloads(fake.roots)
    workloads.refresh(0)
    workloads.read(0)
    fake.show("/system.slice/old.service", cpu_us=900, memory_bytes=10)
    fake.make("/system.slice/new.service")
    workloads.refresh(SECOND_US)
    start = dict(zip(workloads.series, workloads.baseline(), strict=True))
    assert next(value for series, value in start.items() if series.workload == "unit.old.service") == 500
    assert table(workloads)["unit.old.service"][0] == 900
    workloads.close()


def test_nested_directories_made_at_once_are_all_found(fake: FakeCgroups) -> None:
    """What was made inside a new directory before it could be watched is found all the same."""
    workloads = open_workloads(fake.roots)
    workloads.refresh(0)
    fake.make(f"/kubepods/burstable/pod-1/{'ab' * 32}", cpu_us=3)
    assert workloads.refresh(SECOND_US)
    assert table(workloads)["containerd.abababababab"][0] == 3
    fake.make(f"/kubepods/burstable/pod-1/{'cd' * 32}", cpu_us=4)
    assert workloads.refresh(2 * SECOND_US)
    assert table(workloads)["containerd.cdcdcdcdcdcd"][0] == 4
    fake.remove("/kubepods")
    assert not workloads.refresh(3 * SECOND_US), "what went stays for the interval that it ended in"
    workloads.read(3 * SECOND_US)
    assert workloads.refresh(4 * SECOND_US)
    assert list(table(workloads)) == ["unit.old.service"]
    workloads.close()


def test_one_that_goes_is_let_go_and_told(fake: FakeCgroups) -> None:
    """A job that vanishes leaves the series, gives its descriptors back, and is told as ended."""
    workloads = open_workloads(fake.roots)
    workloads.refresh(0)
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    fake.make("/batch", cpu_us=5)
    workloads.refresh(SECOND_US)
    fake.remove("/batch")
    assert workloads.ended() == []
    assert not workloads.refresh(2 * SECOND_US), "what went stays for the interval that it ended in"
    assert workloads.ended() == [], "it is told with that interval"
    workloads.read(2 * SECOND_US)
    assert [(ended[0], ended[2]) for ended in workloads.ended()] == [("cgroup.batch", -1)]
    assert workloads.ended() == []
    assert workloads.refresh(3 * SECOND_US)
    assert list(table(workloads)) == ["unit.old.service"]
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    workloads.close()


def test_group_made_anew_between_ticks_carries_on(fake: FakeCgroups) -> None:
    """A group removed and made again under its path is the same series, and it does not fall."""
    workloads = open_workloads(fake.roots)
    workloads.refresh(0)
    workloads.read(0)
    fake.remove("/system.slice/old.service")
    fake.make("/system.slice/old.service", cpu_us=40, memory_bytes=9)
    assert not workloads.refresh(SECOND_US)
    assert table(workloads)["unit.old.service"][0] == 540
    fake.show("/system.slice/old.service", cpu_us=45, memory_bytes=9)
    assert table(workloads)["unit.old.service"][0] == 545
    workloads.close()


def test_one_that_comes_back_goes_on(fake: FakeCgroups) -> None:
    """A workload let go and found again later never shows less than it did."""
    workloads = open_workloads(fake.roots)
    workloads.refresh(0)
    fake.remove("/system.slice/old.service")
    workloads.refresh(SECOND_US)
    fake.make("/system.slice/old.service", cpu_us=40)
    assert workloads.refresh(2 * SECOND_US)
    assert table(workloads)["unit.old.service"][0] == 540
    workloads.close()


def test_counter_written_to_zero_does_not_fall(fake: FakeCgroups) -> None:
    """A counter that an administrator reset goes on from its last value."""
    workloads = open_workloads(fake.roots)
    workloads.refresh(0)
    fake.show("/system.slice/old.service", cpu_us=3)
    assert table(workloads)["unit.old.service"][0] == 503
    workloads.close()


def test_controller_enabled_a_moment_later_is_taken_up(tmp_path: Path) -> None:
    """Files that appear after their directory, with no event, are found at the next tick."""
    fake = FakeCgroups(tmp_path, V2)
    workloads = open_workloads(fake.roots)
    workloads.refresh(0)
    fake.make("/batch", cpu_us=1)
    held = (fake.roots.cgroupfs / "batch/memory.current").rename(tmp_path / "held")
    assert workloads.refresh(SECOND_US)
    assert len(table(workloads)["cgroup.batch"]) == 2
    held.rename(fake.roots.cgroupfs / "batch/memory.current")
    assert workloads.refresh(2 * SECOND_US)
    assert len(table(workloads)["cgroup.batch"]) == 3
    workloads.close()


def test_configured_cgroups_are_jobs(tmp_path: Path) -> None:
    """A configured glob makes the groups it names jobs, without those around them."""
    fake = FakeCgroups(tmp_path, V2)
    fake.make("/batch/one", cpu_us=5)
    workloads = Workloads(fake.roots, WorkloadsConfig(job_cgroups=("/batch/*",)))
    workloads.refresh(0)
    assert table(workloads) == {"cgroup.batch.one": [5, 0, 0]}
    workloads.close()


def test_same_id_in_two_places_stays_unique(tmp_path: Path) -> None:
    """A container that two paths name gives two workloads with ids of their own."""
    fake = FakeCgroups(tmp_path, V2)
    fake.make(f"/docker/{'ab' * 32}", cpu_us=1)
    fake.make(f"/system.slice/docker-{'ab' * 32}.scope", cpu_us=2)
    workloads = open_workloads(fake.roots)
    workloads.refresh(0)
    assert sorted(table(workloads)) == ["docker.abababababab", "docker.abababababab.2"]
    workloads.close()


def test_node_without_cgroups_says_so(tmp_path: Path) -> None:
    """No hierarchy at all leaves the agent alone, and is told once with what to do."""
    workloads = open_workloads(Roots(procfs=tmp_path, cgroupfs=tmp_path / "none"))
    workloads.refresh(0)
    assert [each.id for each in workloads.workloads] == ["agent"]
    (finding,) = workloads.probe()
    assert finding.state == ABSENT
    assert finding.fix
    workloads.close()


def test_working_node_says_so(fake: FakeCgroups) -> None:
    """Where all is well every finding is."""
    workloads = open_workloads(fake.roots)
    workloads.refresh(0)
    assert {finding.state for finding in workloads.probe()} == {WORKING}
    workloads.close()
