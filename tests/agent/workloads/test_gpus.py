"""Who uses and who holds a GPU, by the driver's processes and the scheduler's environment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.agent.meters.nvml import NvmlMeter
from joulebook.agent.source import UNREADABLE, WORKING, Roots
from joulebook.agent.workloads.gpuholders import (
    Holder,
)
from joulebook.agent.workloads.gpus import Gpus
from joulebook.agent.workloads.settings import WorkloadsConfig
from joulebook.agent.workloads.workloads import Workloads
from joulebook.v1 import metrics_pb2 as metrics
from tests.fixtures.cgroups.fake import HYBRID, V1, V2, FakeCgroups
from tests.fixtures.nvml.standin import UNKNOWN, Standin, uuid_of

S = 1_000_000
PPM = metrics.METRIC_WORKLOAD_GPU_UTILISATION


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
    assert not node.tick(), "it stays for the interval that it ended in"
    assert node.tick()
    assert node.held() == {}


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


def test_users_of_a_gpu_that_is_no_domain_any_more(node: Node) -> None:
    """A domain may go a moment before its users do: no series is of it until it is back."""
    node.job("a", 11)
    node.standin.set(0, compute="11", samples="11:60:1")
    node.tick()
    every = {"gpu.0", "gpu.1"}
    for there in (every, {"gpu.1"}, every):
        node.workloads.know_domains(frozenset(there))
        told = [each.domain for each in node.workloads.series if each.metric == PPM]
        assert told == [name for name in ("gpu.0",) if name in there]
        assert len(node.workloads.values()) == len(node.workloads.series)
