"""Real processes of applications, in real cgroups and under `joulebook run`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulebook.agent.source import UNREADABLE, Roots
from joulebook.agent.workloads.gpus import Gpu
from joulebook.agent.workloads.launchers.process import Processes
from joulebook.agent.workloads.launchers.table import LAUNCHERS
from joulebook.agent.workloads.processes import process_cpu_ns
from joulebook.agent.workloads.settings import WorkloadsConfig
from joulebook.agent.workloads.workload import Workload
from joulebook.agent.workloads.workloads import Workloads
from tests.agent.workloads.launchers.applications import MARK, TOKEN, Ticking, Worker
from tests.agent.workloads.runnode import Node, tick_and_list

# Stands in for torchrun, which the tests do not install: it starts two workers, with what torchrun's
# documentation says that it gives them.
TORCHRUN = """
import os, subprocess, sys
start = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]
told = {"TORCHELASTIC_RUN_ID": sys.argv[1], "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2"}
told["MASTER_PORT"] = "29500"
ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
workers = [subprocess.Popen(start, env=os.environ | told | rank) for rank in ranks]
print(*(worker.pid for worker in workers), flush=True)
for worker in workers:
    worker.wait()
"""
# Stands in for Flux's shell: when told to, it starts a task with what Flux's documentation says that it gives
# them. Of two ids the first one's task is a shell too, as in an instance of Flux within a job.
FLUX_SHELL = """
import os, subprocess, sys
_, script, id, *within = sys.orig_argv[1:]
task = ["-c", "import sys; sys.stdin.read()"] if not within else [script, *within]
os.read(0, 1)
told = {"FLUX_JOB_ID": id, "FLUX_TASK_RANK": "0", "FLUX_JOB_SIZE": "1"}
task = subprocess.Popen([sys.executable, "-S", *task], env=os.environ | told)
print(task.pid, flush=True)
task.wait()
"""


@dataclass
class Card:
    """A GPU with known processes on it."""

    index: int
    on_it: dict[int, int]
    uuid: str = ""
    model: str = "H200"
    domain: str = field(init=False)
    minor: int = field(init=False)
    parts: dict[str, int] = field(default_factory=dict)
    rocr_devices: int = 0
    device_numbers: frozenset[tuple[int, int]] = frozenset()

    def __post_init__(self) -> None:
        self.domain, self.minor = f"gpu.{self.index}", self.index

    def processes(self, now_us: int) -> dict[int, int]:  # noqa: ARG002  (as a driver's)
        return self.on_it


@pytest.fixture
def ticking() -> Iterator[Ticking]:
    ticking = Ticking()
    ticking.tick()
    yield ticking
    ticking.workloads.close()


@pytest.fixture
def worker(cgroup: Callable[[str], Path]) -> Iterator[Callable[..., Worker]]:  # noqa: ARG001
    """Return a maker of workers, which end before the groups that they are in."""
    with ExitStack() as running:

        def start(*groups: Path, mark: str = MARK) -> Worker:
            worker = Worker(*groups, mark=mark)
            running.callback(worker.end)
            return worker

        yield start


def test_a_job_in_two_services_is_one_and_in_a_schedulers_job_none(
    ticking: Ticking, worker: Callable[..., Worker], cgroup: Callable[[str], Path]
) -> None:
    """A part in each service, of the same job; what runs in Slurm's job is that job's, whatever it says."""
    groups = [cgroup(f"/system.slice/jb-{n}-{TOKEN}.service") for n in range(2)]
    workers = [worker(group) for group in groups]
    in_slurm = worker(cgroup("/slurm/uid_0/job_987654321"), mark=f"other-{TOKEN}")
    in_slurm.do(0.01)
    part, other = f"marked.{MARK}", f"marked.{MARK}+2"

    def parents(found: dict[str, Workload]) -> set[str]:
        return {found[each].parent for each in (part, other) if each in found}

    units = {f"unit.jb-{n}-{TOKEN}.service" for n in range(2)}
    found = ticking.until(lambda found: parents(found) == units)
    assert {each: (found[each].job, found[each].name, found[each].user) for each in (part, other)} == {
        part: ("", MARK, "root"),
        other: (f"marked.{MARK}", MARK, "root"),
    }
    assert all(0 <= time.time() - found[each].start_unix_us / 1e6 < 600 for each in (part, other))
    assert "slurm.987654321" in found
    assert f"marked.other-{TOKEN}" not in found
    workers[0].do(0.05)
    ticking.tick()
    before_us = dict(ticking.cpu_us)
    workers[1].do(0.2)
    workers[1].do("fork")
    ticking.tick()
    used = {each: ticking.cpu_us[each] - before_us[each] for each in (part, other)}
    (idle,) = (each for each in used if found[each].parent == f"unit.jb-0-{TOKEN}.service")
    (busy,) = set(used) - {idle}
    assert used[idle] < 50_000
    clock_us = process_cpu_ns(workers[1].process.pid) // 1000
    assert used[busy] > 200_000
    assert ticking.cpu_us[busy] > clock_us - 20_000, "its child's use comes with it"
    for each in workers:
        each.end()
    ticking.until(lambda found: part not in found and other not in found)
    assert ticking.ended.count(f"marked.{MARK}") == 1
    assert f"marked.{MARK}+2" not in ticking.ended


def test_a_torchrun_is_one_job_with_its_agent(ticking: Ticking, tmp_path: Path) -> None:
    """The agent that started the workers belongs to their job, which ends with the last of them."""
    script = tmp_path / "torchrun"
    script.write_text(TORCHRUN)
    command = [sys.executable, "-S", str(script), TOKEN]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as agent:
        job = f"torchrun.{TOKEN}"
        ticking.until(lambda found: job in found)
        assert agent.stdout
        pids = [agent.pid, *map(int, agent.stdout.readline().split())]
        ticking.until(lambda _: {ticking.workloads._launchers.workload_of(pid) for pid in pids} == {job})
        agent.communicate("")
    ticking.until(lambda found: job not in found)
    assert ticking.ended == [job]


def test_a_job_of_fluxs_without_a_cgroup(ticking: Ticking, tmp_path: Path) -> None:
    """Shell and tasks are the job, and so is an instance within it; who only has the variable is not."""
    script = tmp_path / "flux-shell"
    script.write_text(FLUX_SHELL)
    id_ = TOKEN.replace("0", "g")
    command = [sys.executable, "-S", str(script), f"ƒ{id_}", f"ƒ{id_[::-1]}x"]
    pipe = subprocess.PIPE
    sleeps = [sys.executable, "-S", "-c", "input()"]
    said = os.environ | {"FLUX_JOB_ID": f"ƒ{id_}y"}
    with (
        subprocess.Popen(sleeps, env=said, stdin=pipe) as other,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as shell,
    ):
        job, pids = f"flux.f{id_}", [shell.pid]
        assert shell.stdin
        assert shell.stdout
        for _ in range(2):
            shell.stdin.write("\n")
            shell.stdin.flush()
            pids.append(int(shell.stdout.readline()))
            found = ticking.until(
                lambda _: {ticking.workloads._launchers.workload_of(pid) for pid in pids} == {job}
            )
        assert not {f"flux.f{id_[::-1]}x", f"flux.f{id_}y"} & found.keys()
        assert (found[job].source, found[job].user) == ("flux", "root")
        shell.communicate("")
        other.communicate(b"\n")
    ticking.until(lambda found: job not in found)
    assert ticking.ended == [job]


def test_an_application_under_a_run_is_part_of_the_run() -> None:
    """What `joulebook run` announced is one job, with or without a cgroup, whatever is marked in it."""
    with tempfile.TemporaryDirectory(prefix="joulebook-run-") as name:
        Path(name).chmod(0o755)
        node = Node(Path(name), launchers=tuple(LAUNCHERS))
        for cgroupfs in ("/sys/fs/cgroup", "/nowhere"):
            marked = f"JOULEBOOK_JOB=in-run-{TOKEN} {sys.executable} -S -c 'input()'"
            # The shell's own child: it is started after the run has begun.
            client = node.start("sh", "-c", f"{marked}; true", cgroupfs=cgroupfs, stdin=subprocess.PIPE)
            node.until(lambda: any(each.startswith("run.") for each in tick_and_list(node)))
            found = f"in-run-{TOKEN}".encode()
            node.until(lambda found=found: any(found in each for each in environments()))  # type: ignore[misc]
            for _ in range(4):
                node.tick()
            assert not [each for each in node.live if TOKEN in each]
            assert client.stdin
            client.stdin.close()
            node.finish(client)
        node.socket.close()
        node.workloads.close()


def environments() -> Iterator[bytes]:
    for each in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            yield each.read_bytes()


def test_gpus_that_an_application_uses_and_holds_are_its_own() -> None:
    """A marked process on a GPU is its job's there, and what its environment names it holds."""
    environ = {"JOULEBOOK_JOB": MARK, "CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    command = [sys.executable, "-S", "-c", "input()"]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE) as process:
        gpus: list[Gpu] = [Card(0, {process.pid: 300_000}), Card(1, {})]
        config = WorkloadsConfig(launchers=("marked",), node="here")
        ticking = Ticking(Workloads(Roots(), config, gpus=lambda: gpus))
        part = f"marked.{MARK}"
        found = ticking.until(lambda found: part in found and bool(found[part].gpus))
        assert found[part].gpus == ("gpu.1",)
        ticking.until(lambda _: any(each.domain for each in ticking.workloads.series))
        used = [(each.workload, each.domain) for each in ticking.workloads.series if each.domain]
        assert used == [(part, "gpu.0")]
        ticking.workloads.close()
        process.communicate()


def test_a_program_that_a_shell_executes_later_is_found(ticking: Ticking) -> None:
    """A shell that waits, then executes the marked program: the same process is another one by then."""
    script = f"read _; JOULEBOOK_JOB=late-{TOKEN} exec sleep 1000"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE) as shell:
        for _ in range(3):
            ticking.tick()
        assert shell.stdin
        shell.stdin.write(b"\n")
        shell.stdin.flush()
        found = ticking.until(lambda found: f"marked.late-{TOKEN}" in found)
        assert found[f"marked.late-{TOKEN}"].source == "marked"
        shell.kill()


def test_the_agent_itself_is_no_application(ticking: Ticking, worker: Callable[..., Worker]) -> None:
    """A marked shell's agent stays the agent's own; so does nothing else."""
    started = worker()
    ticking.until(lambda found: f"marked.{MARK}" in found)
    own = Workloads(
        Roots(), WorkloadsConfig(launchers=("marked",), node="here"), own_pids=[started.process.pid]
    )
    own.refresh(0)
    assert f"marked.{MARK}" not in {each.id for each in own.workloads}
    own.close()


def test_environments_that_may_not_be_read_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to read them the finding says what is not known, and what mends it."""

    def process(self: Processes, pid: int, birth: object = None) -> None:  # noqa: ARG001
        self.denied = True

    monkeypatch.setattr(Processes, "process", process)
    workloads = Workloads(Roots(), WorkloadsConfig(launchers=("dask",)))
    workloads.refresh(0)
    (finding,) = (each for each in workloads.probe() if each.name == "workloads.launchers")
    assert finding.state == UNREADABLE
    assert "CAP_SYS_PTRACE" in finding.fix
    workloads.close()
