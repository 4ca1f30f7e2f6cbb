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
    domains_held,
    group_pids,
    parse_environ,
    shares_held,
)
from joulebook.agent.workloads.workload import JOB, SYSTEM, Workload
from tests.fixtures.nvml.standin import uuid_of

MIG_A, MIG_B, MIG_C = "MIG-aaaa", "MIG-bbbb", "MIG-cccc"


@dataclass
class NamedGpu:
    """What a GPU is called."""

    index: int
    minor: int
    model: str = "H200"
    uuid: str = field(init=False)
    domain: str = field(init=False)
    parts: dict[str, int] = field(default_factory=dict)

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


@pytest.mark.parametrize(
    ("environ", "source", "held"),
    [
        ({}, "cgroup", None),
        ({"PATH": "/bin"}, "cgroup", None),
        ({"SLURM_JOB_GPUS": "3"}, "cgroup", ("gpu.0",)),
        ({"SLURM_JOB_GPUS": "2-3,9"}, "cgroup", ("gpu.1", "gpu.0")),
        ({"SLURM_JOB_GPUS": "", "SLURM_STEP_GPUS": "2"}, "cgroup", ("gpu.1",)),
        ({"SLURM_JOB_GPUS": "2,3", "SLURM_STEP_GPUS": "2"}, "cgroup", ("gpu.1", "gpu.0")),
        ({"SLURM_JOB_GPUS": "2", "CUDA_VISIBLE_DEVICES": "0"}, "cgroup", ("gpu.1",)),
        ({"SLURM_JOB_GPUS": "nonsense"}, "cgroup", ()),
        ({"CUDA_VISIBLE_DEVICES": "0, 1"}, "run", ("gpu.0", "gpu.1")),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,0"}, "run", ("gpu.1",)),
        ({"CUDA_VISIBLE_DEVICES": ""}, "run", ()),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, "run", ()),
        ({"CUDA_VISIBLE_DEVICES": uuid_of(1)}, "docker", ("gpu.1",)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-00000001"}, "run", ("gpu.1",)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-0000"}, "run", ()),
        ({"CUDA_VISIBLE_DEVICES": f"MIG-{uuid_of(1)}/3/0"}, "run", ("gpu.1",)),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "docker", ()),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "kubernetes", ()),
        ({"NVIDIA_VISIBLE_DEVICES": uuid_of(1), "CUDA_VISIBLE_DEVICES": "0"}, "kubernetes", ("gpu.1",)),
        ({"NVIDIA_VISIBLE_DEVICES": f"{uuid_of(1)},{uuid_of(0)}"}, "docker", ("gpu.1", "gpu.0")),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, "docker", None),
        ({"NVIDIA_VISIBLE_DEVICES": "1"}, "docker", None),
        ({"NVIDIA_VISIBLE_DEVICES": uuid_of(1)}, "run", None),
    ],
)
def test_what_environments_mean(environ: dict[str, str], source: str, held: tuple[str, ...] | None) -> None:
    """Slurm names device files, CUDA counts or names UUIDs; a container's count says nothing."""
    assert domains_held(environ, [NamedGpu(0, minor=3), NamedGpu(1, minor=2)], source) == held


@pytest.mark.parametrize(
    ("environ", "held", "shares"),
    [
        pytest.param({"CUDA_VISIBLE_DEVICES": MIG_A}, ("gpu.0",), {"gpu.0": 400_000}, id="one part"),
        pytest.param(
            {"CUDA_VISIBLE_DEVICES": f"{MIG_A},{MIG_B}"}, ("gpu.0",), {"gpu.0": 600_000}, id="two of one GPU"
        ),
        pytest.param(
            {"CUDA_VISIBLE_DEVICES": f"{MIG_B},{MIG_C}"},
            ("gpu.0", "gpu.1"),
            {"gpu.0": 200_000, "gpu.1": 1_000_000},
            id="of two GPUs",
        ),
        pytest.param(
            {"CUDA_VISIBLE_DEVICES": MIG_A, "SLURM_JOB_GPUS": "1"},
            ("gpu.0",),
            {"gpu.0": 400_000},
            id="Slurm counts the parts, not the GPUs",
        ),
        pytest.param({"CUDA_VISIBLE_DEVICES": "MIG-dddd"}, (), {}, id="a part that is not known"),
        pytest.param({"CUDA_VISIBLE_DEVICES": uuid_of(1)}, ("gpu.1",), {}, id="a GPU as a whole"),
    ],
)
def test_parts_of_divided_gpus_are_held(
    environ: dict[str, str], held: tuple[str, ...], shares: dict[str, int]
) -> None:
    """A MIG instance counts for its GPU with its slices, by whatever name it is given."""
    gpus = [
        NamedGpu(0, 0, parts={MIG_A: 400_000, MIG_B: 200_000}),
        NamedGpu(1, 1, parts={MIG_C: 1_000_000}),
    ]
    assert domains_held(environ, gpus, "docker") == held
    assert shares_held(environ, gpus) == shares


def test_cudas_count_needs_a_known_order() -> None:
    """Of GPUs of several models CUDA's first is the fastest, unless it is told to go by the bus."""
    gpus = [NamedGpu(0, 0, "T4"), NamedGpu(1, 1, "H200")]
    assert domains_held({"CUDA_VISIBLE_DEVICES": "0"}, gpus, "run") == ()
    by_bus = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert domains_held(by_bus, gpus, "run") == ("gpu.0",)


def test_nothing_else_of_an_environment_is_kept() -> None:
    """Whatever secrets an environment holds, only the names about GPUs leave the parser."""
    raw = b"TOKEN=s3cret\0CUDA_VISIBLE_DEVICES=0\0XSLURM_JOB_GPUS=1\0noise\0\xff=\xff\0"
    assert parse_environ(raw) == {"CUDA_VISIBLE_DEVICES": "0"}


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
