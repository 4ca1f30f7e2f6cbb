"""Which job holds which GPU: what environments say, and what of them is kept."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulebook.agent.source import UNREADABLE, WORKING
from joulebook.agent.workloads.gpuholders import (
    GpuHolders,
    Holder,
    group_pids,
)
from joulebook.agent.workloads.workload import JOB, SYSTEM, Workload
from tests.fixtures.nvml.standin import uuid_of


@dataclass
class NamedGpu:
    """What a GPU is called."""

    index: int
    minor: int
    model: str = "H200"
    uuid: str = field(init=False)
    domain: str = field(init=False)
    parts: dict[str, int] = field(default_factory=dict)
    rocr_devices: int = 0
    device_numbers: frozenset[tuple[int, int]] = frozenset()

    def __post_init__(self) -> None:
        self.uuid, self.domain = uuid_of(self.index), f"gpu.{self.index}"


def test_jobs_that_begin_late_are_looked_at_again(tmp_path: Path) -> None:
    """Until a job tells of GPUs it is asked at ever longer intervals, and never again after."""
    holders = GpuHolders(tmp_path, [NamedGpu(0, 0)])
    job = Holder(Workload("slurm.1", JOB, "slurm"), pid=1)
    assert not any(holders.look([job]) for _ in range(5))
    (tmp_path / "1").mkdir()
    (tmp_path / "1/environ").write_text("SLURM_JOB_GPUS=0")
    assert [holders.look([job]) for _ in range(5)] == [False, False, True, False, False]
    (tmp_path / "1/environ").write_text("SLURM_JOB_GPUS=7")
    assert not any(holders.look([job]) for _ in range(60))


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Be nobody for a while, where the test runs as root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.mark.usefixtures("unprivileged")
def test_an_environment_that_may_not_be_read_is_told_of() -> None:
    """Where the agent lacks the right, who holds GPUs is said to be unknown, with what mends it."""
    holders = GpuHolders(Path("/proc"), [NamedGpu(0, 0)])
    assert [f.state for f in holders.findings()] == [WORKING]
    assert not holders.look([Holder(Workload("slurm.1", JOB, "slurm"), pid=1)])
    (finding,) = holders.findings()
    assert finding.state == UNREADABLE
    assert "CAP_SYS_PTRACE" in finding.fix


def test_processes_are_found_in_groups_within_groups(tmp_path: Path) -> None:
    """A job's processes are in the leaves of its group; a group that is gone has none."""
    for path, pids in (("", ""), ("step_0", ""), ("step_0/user", "5\n6\n"), ("step_1", "7\n")):
        (tmp_path / path).mkdir(exist_ok=True)
        (tmp_path / path / "cgroup.procs").write_text(pids)
    assert sorted(group_pids(tmp_path)) == [5, 6, 7]
    assert group_pids(tmp_path / "gone") == []


def test_a_child_holds_instead_of_those_around_it(tmp_path: Path) -> None:
    """A command within a job holds what it was given of the job's GPUs; the job keeps the rest."""
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    (tmp_path / "1/environ").write_text("SLURM_JOB_GPUS=0,1")
    (tmp_path / "2/environ").write_text("CUDA_VISIBLE_DEVICES=1")
    holders = GpuHolders(tmp_path, [NamedGpu(0, 0), NamedGpu(1, 1)])
    job = Workload("slurm.1", JOB, "slurm")
    step = Workload("unit.x", SYSTEM, "systemd", parent="slurm.1")
    run = Workload("run.1", JOB, "run", parent="unit.x")
    assert holders.look([Holder(job, pid=1), Holder(step, pid=1), Holder(run, pid=2)])
    assert holders.held([job, step, run]) == {"slurm.1": ("gpu.0",), "run.1": ("gpu.1",)}
    assert not holders.look([Holder(job, pid=1), Holder(run, pid=2)])
    assert holders.look([Holder(job, pid=1)])
    assert holders.held([job]) == {"slurm.1": ("gpu.0", "gpu.1")}


def test_slurms_parts_of_a_gpu_are_weighed_against_each_other(tmp_path: Path) -> None:
    """Jobs that share a GPU hold it by shards or percents, a command within one too; one alone holds all."""
    environs = {
        1: "SLURM_JOB_GPUS=0\0SLURM_SHARDS_ON_NODE=1",
        2: "SLURM_JOB_GPUS=0\0SLURM_SHARDS_ON_NODE=3",
        3: "SLURM_JOB_GPUS=1\0CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=25",
        4: "SLURM_JOB_GPUS=1\0CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=50",
        5: "SLURM_JOB_GPUS=1",
    }
    for pid, environ in environs.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "environ").write_text(environ)
    holders = GpuHolders(tmp_path, [NamedGpu(0, 0), NamedGpu(1, 1)])
    jobs = {pid: Holder(Workload(f"slurm.{pid}", JOB, "slurm"), pid=pid) for pid in environs}

    def shares(*pids: int, run: bool = False) -> dict[str, tuple[int, ...]]:
        there = [jobs[pid] for pid in pids]
        if run:
            there.append(Holder(Workload("run.1", JOB, "run", parent="slurm.2"), pid=2))
        assert holders.look(there)
        held = holders.held([each.workload for each in there])
        return {name: holders.shares(name, domains) for name, domains in held.items()}

    assert shares(1) == {"slurm.1": ()}
    assert shares(1, 2, 3) == {"slurm.1": (250_000,), "slurm.2": (750_000,), "slurm.3": ()}
    assert shares(1, 2, run=True) == {"slurm.1": (250_000,), "run.1": (750_000,)}
    assert shares(3, 4) == {"slurm.3": (333_333,), "slurm.4": (666_667,)}
    # Who has it whole has no less than the others.
    assert shares(3, 4, 5) == {"slurm.3": (), "slurm.4": (), "slurm.5": ()}
