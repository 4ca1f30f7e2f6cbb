"""Where an application is a job of its own, and where it is part of what contains it."""

import pytest

from joulebook.agent.workloads.classify import classify
from joulebook.agent.workloads.column import Member
from joulebook.agent.workloads.launchers.place import Place, place_in
from joulebook.agent.workloads.workload import Place as Group


@pytest.mark.parametrize(
    ("group", "is_job"),
    [
        ("/user.slice/user-0.slice", False),
        ("/system.slice/spark-worker.service", False),
        ("/docker/" + "ab" * 32, False),
        ("/libpod_parent/libpod-" + "ab" * 32, False),
        ("/machine.slice/systemd-nspawn@box.service", False),
        ("/machine/lxc-3-box.libvirt-lxc", False),
        ("/slurm/uid_0/job_7", True),
        ("/system.slice/slurmstepd.scope/job_7", True),
        ("/pbs_jobs.service/jobid/7.server", True),
        ("/kubepods/burstable/pod00000001-1111-2222-3333-444444444444", True),
        ("/batch", True),
    ],
)
def test_jobs_are_closed_and_services_and_containers_are_not(group: str, is_job: bool) -> None:
    """In a scheduler's job, a pod or a group that is a job by its name there is no second account."""
    workload = classify(Group(group, str)).workload
    assert workload is not None
    members = {group: Member(workload, path=group)}
    for path in (group, f"{group}/inner/more"):
        assert place_in(path, members, frozenset(), in_run=False) == Place(group, is_job)
    assert place_in("/elsewhere", members, frozenset(), in_run=False) == Place("")


def test_a_run_is_closed() -> None:
    """What descends from a run, or stands in its group, is the run's."""
    groups = frozenset(("/a/joulebook-1",))
    assert place_in("/a/joulebook-1/x", {}, groups, in_run=False).in_run
    assert place_in("/a", {}, groups, in_run=True).in_run
    assert not place_in("/a", {}, groups, in_run=False).in_run
