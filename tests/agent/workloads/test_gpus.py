"""Who uses and who holds a GPU, by the driver's processes and the scheduler's environment."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulebook.agent.meters.nvml import NvmlMeter
from joulebook.agent.source import UNREADABLE, WORKING, Roots
from joulebook.agent.workloads.gpuholders import (
    GpuHolders,
    Holder,
    domains_held,
    group_pids,
    parse_environ,
    shares_held,
)
from joulebook.agent.workloads.gpus import Gpus
from joulebook.agent.workloads.workload import JOB, SYSTEM, Workload
from joulebook.agent.workloads.workloads import Workloads, WorkloadsConfig
from joulebook.v1 import metrics_pb2 as metrics
from tests.fixtures.cgroups.fake import HYBRID, V1, V2, FakeCgroups
from tests.fixtures.nvml.standin import UNKNOWN, Standin, uuid_of

S = 1_000_000
PPM = metrics.METRIC_WORKLOAD_GPU_UTILISATION


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


class Node:
    """Jobs in made-up cgroups with made-up processes, and stand-in GPUs."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, version: str = V2) -> None:
        self.version = version
        self.fake = FakeCgroups(directory, version)
        self.standin = Standin(directory, gpus=2)
        self.standin.install(monkeypatch)
        self.meter = NvmlMeter(self.fake.roots, wait_s=60, start_s=60)
        self.meter.probe()
        self.now_us = 0
        self._workloads: Workloads | None = None

    @property
    def workloads(self) -> Workloads:
        """Return the workloads, begun at first use."""
        if self._workloads is None:
            config = WorkloadsConfig(job_cgroups=("/batch/*",))
            self._workloads = Workloads(
                self.fake.roots, config, gpus=lambda: self.meter.gpus, lookup_user=str
            )
        return self._workloads

    def job(self, name: str, pid: int, **environ: str) -> None:
        """Make a job with one process, in a group inside the job's own."""
        self.fake.make(f"/batch/{name}")
        inner = self.fake.directories(f"/batch/{name}/step_0")[0]
        inner.mkdir(parents=True)
        (inner / "cgroup.procs").write_text(f"{pid}\n")
        self.process(pid, f"/batch/{name}/step_0", **environ)

    def process(self, pid: int, path: str, **environ: str) -> None:
        """Make a process."""
        directory = self.fake.roots.procfs / str(pid)
        directory.mkdir()
        controller = "" if self.version == V2 else "cpuacct"
        (directory / "cgroup").write_text(f"0:{controller}:{path}\n")
        lines = [f"{name}={value}" for name, value in {"SECRET": "x", **environ}.items()]
        (directory / "environ").write_bytes("\0".join([*lines, ""]).encode())

    def end(self, pid: int) -> None:
        """End a process."""
        for file in (self.fake.roots.procfs / str(pid)).iterdir():
            file.unlink()
        (self.fake.roots.procfs / str(pid)).rmdir()

    def tick(self) -> bool:
        """Let a minute pass; say whether the series changed."""
        # However long a look takes on this machine, the next one comes with the next tick.
        self.now_us += 60 * S
        changed = self.workloads.refresh(self.now_us)
        self.workloads.read(self.now_us)
        return changed

    def users(self) -> dict[tuple[str, str], int]:
        """Return the share of each job and GPU."""
        values = self.workloads.read(self.now_us)
        assert len(values) == len(self.workloads.series) == len(self.workloads.baseline())
        return {
            (series.workload.rpartition("/")[2], series.domain): value
            for series, value in zip(self.workloads.series, values, strict=True)
            if series.metric == PPM
        }

    def held(self) -> dict[str, tuple[str, ...]]:
        """Return what each job holds."""
        return {each.id.rpartition("/")[2]: each.gpus for each in self.workloads.workloads if each.gpus}

    def names(self) -> set[str]:
        """Return the ends of all workloads' ids."""
        return {each.id.rpartition("/")[2] for each in self.workloads.workloads}


@pytest.fixture(params=[V2, V1, HYBRID])
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Node]:
    """Return a node of each kind of cgroup hierarchy."""
    made = Node(tmp_path, monkeypatch, request.param)
    yield made
    made.workloads.close()


def test_processes_are_their_jobs(node: Node) -> None:
    """A process counts for the job whose cgroup it stands in, on each GPU by itself; several add up."""
    node.job("a", 11)
    node.job("b", 12)
    node.process(13, "/batch/a")
    node.process(14, "/elsewhere")
    node.standin.set(0, compute="11,13,14,15", samples="11:40:1,13:5:1,14:50:1")
    node.standin.set(1, compute="12")
    assert node.tick()
    users = {key: ppm for key, ppm in node.users().items() if "elsewhere" not in key[0]}
    assert [ppm for _, ppm in sorted(users.items())] == [450_000, 0]
    assert sorted(domain for _, domain in users) == ["gpu.0", "gpu.1"]
    assert not node.tick()


def test_a_process_that_went_was_there_for_a_part_of_its_last_interval(node: Node) -> None:
    """What used a GPU at the beginning of an interval is a user of that interval, and of no later one."""
    node.job("a", 11)
    node.standin.set(0, compute="11", samples="11:80:1")
    node.tick()
    node.end(11)
    node.standin.set(0, compute="", samples="")
    assert not node.tick()
    assert list(node.users().values()) == [800_000]
    assert node.tick()
    assert node.users() == {}


def test_a_process_is_known_while_the_driver_still_tells_of_it(node: Node) -> None:
    """A process that the driver lists though it has just ended counts for the job that it was of."""
    node.job("a", 11)
    node.standin.set(0, compute="11")
    node.tick()
    node.end(11)
    assert not node.tick()
    assert not node.tick()
    assert list(node.users().values()) == [0]


def test_a_gpu_that_does_not_tell_keeps_its_users_and_the_others_theirs(node: Node) -> None:
    """One GPU's error is told of, and changes nothing else."""
    node.job("a", 11)
    node.job("b", 12)
    node.standin.set(0, compute="11")
    node.standin.set(1, compute="12")
    node.tick()
    before = node.users()
    node.standin.set(0, all=UNKNOWN)
    assert not node.tick()
    assert node.users() == before
    named = {f.name: f for f in node.workloads.probe()}
    assert named["workloads.gpu.0"].state == UNREADABLE
    assert named["workloads.gpu.0"].fix
    node.standin.set(0, all=None)
    node.tick()
    assert {f.name: f.state for f in node.workloads.probe()}["workloads.gpus"] == WORKING


def test_jobs_hold_what_their_environment_says(node: Node) -> None:
    """A job holds its GPUs from the first look on, with no process there, until it goes."""
    node.job("a", 11, SLURM_JOB_GPUS="1", CUDA_VISIBLE_DEVICES="0")
    node.job("b", 12)
    node.tick()
    assert list(node.held().values()) == [("gpu.1",)]
    node.end(11)
    assert not node.tick()
    assert list(node.held().values()) == [("gpu.1",)]
    node.fake.remove("/batch/a")
    assert node.tick()
    assert node.held() == {}


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


def test_slow_drivers_are_asked_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause after a look is a multiple of what it took, up to a bound; a command's begin ends it."""
    standin = Standin(tmp_path, gpus=1)
    standin.install(monkeypatch)
    meter = NvmlMeter(Roots(), wait_s=60)
    meter.probe()
    clock = iter(range(0, 10**12, 20_000_000))  # each look takes 20 ms
    gpus = Gpus(tmp_path, lambda: meter.gpus, lambda: next(clock))
    looks: list[int] = []

    def holders() -> list[Holder]:
        looks.append(now_s)
        return []

    for now_s in range(10):
        if now_s == 6:
            gpus.hurry()
        gpus.refresh(now_s * S, lambda _: "", holders)
    assert looks == [0, 4, 6]


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
    ],
)
def test_what_environments_mean(environ: dict[str, str], source: str, held: tuple[str, ...] | None) -> None:
    """Slurm names device files, CUDA counts or names UUIDs; a container's count says nothing."""
    assert domains_held(environ, [NamedGpu(0, minor=3), NamedGpu(1, minor=2)], source) == held


MIG_A, MIG_B, MIG_C = "MIG-aaaa", "MIG-bbbb", "MIG-cccc"


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


def test_a_job_tells_the_slices_that_it_holds(node: Node) -> None:
    """From the driver's instances to the workload: the share is in the layout, and the job's alone."""
    node.standin.put({"0.mig": 1, "0.mig.0.uuid": "MIG-aaaa", "0.mig.2.uuid": "MIG-cccc"})
    for index, slices in ((0, 3), (2, 2)):
        made = {"gi": index + 1, "ci": 0, "slices": slices, "multiprocessors": 14 * slices, "memory_mb": 9000}
        node.standin.put({f"0.mig.{index}.{key}": value for key, value in made.items()})
    node.meter.probe()
    node.job("a", 11, CUDA_VISIBLE_DEVICES="MIG-aaaa", SLURM_JOB_GPUS="1")
    node.job("b", 12, CUDA_VISIBLE_DEVICES=f"MIG-{uuid_of(0)}/3/0")
    node.job("c", 13, CUDA_VISIBLE_DEVICES=uuid_of(1))
    node.tick()
    found = {(each.gpus, each.gpu_shares_ppm) for each in node.workloads.workloads if each.gpus}
    assert found == {
        (("gpu.0",), (3_000_000 // 7,)),
        (("gpu.0",), (2_000_000 // 7,)),
        (("gpu.1",), ()),
    }


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
