"""Commands under the wrapper, from end to end: real processes, groups, signals and users."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulebook.agent.source import Roots, Series
from joulebook.agent.workloads.column import CPU, FileColumn
from joulebook.agent.workloads.hierarchy import cgroup_paths, locate
from joulebook.agent.workloads.rungroup import group_name
from joulebook.agent.workloads.running import RunRefusedError
from joulebook.agent.workloads.runs import LostRun, RunSocket
from joulebook.agent.workloads.runwire import BeginRun
from joulebook.agent.workloads.workload import JOB, Workload
from joulebook.agent.workloads.workloads import Workloads

NOBODY = 65534

# The wrapper as an ordinary program; "uid" gives up root first, as a login would.
CLIENT = """
import dataclasses, json, os, sys
import resource  # os.wait4 imports it late, when another user may no longer read it
from pathlib import Path
from joulebook.cli.run import run_command
asked = json.loads(sys.argv[1])
if asked["uid"]:
    os.setgroups([]); os.setgid(asked["uid"]); os.setuid(asked["uid"])
result = run_command(
    asked["argv"],
    job=asked["job"],
    name="",
    cpus=asked["cpus"],
    socket_path=Path(asked["socket"]),
    cgroupfs=Path(asked["cgroupfs"]),
)
with open(asked["result"], "w") as file:
    json.dump(dataclasses.asdict(result), file)
sys.exit(result.exit_status)
"""

PYTHON_BURN = "import time\nwhile time.process_time() < {seconds}: pass"


def _is_ours(series: Series) -> bool:
    """Say whether this is the CPU time of a run or of the agent: other groups of the machine are not ours."""
    return series.metric == CPU and series.workload.startswith(("run.", "agent"))


class Node:
    """An agent's run socket and workloads, ticking at each edge."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket_path = directory / "run.sock"
        self.socket = RunSocket(self.socket_path)
        self.workloads = Workloads(Roots())
        self.now_us = 0
        self.cpu_us: dict[str, int] = {}
        self.seen: dict[str, Workload] = {}
        self.ended: dict[str, int] = {}
        self.live: set[str] = set()
        self.groups: set[str] = set()
        self.tick()

    def tick(self) -> None:
        self.now_us += 1_000_000
        if self.workloads.refresh(self.now_us):
            for series, value in zip(self.workloads.series, self.workloads.baseline(), strict=True):
                if _is_ours(series):
                    assert value == self.cpu_us.get(series.workload, value), (
                        "a layout begins at the last tick"
                    )
        for series, value in zip(self.workloads.series, self.workloads.read(self.now_us), strict=True):
            if _is_ours(series):
                assert value >= self.cpu_us.get(series.workload, 0), "CPU time never falls"
                self.cpu_us[series.workload] = value
        self.live = {each.id for each in self.workloads.workloads}
        self.seen |= {each.id: each for each in self.workloads.workloads}
        self.ended |= {workload_id: status for workload_id, _, status in self.workloads.ended()}

    def serve(self) -> None:
        for request in self.socket.handle():
            if isinstance(request.message, BeginRun):
                self.groups.add(group_name(request.message.token))
            self.workloads.serve(request, self.tick)

    def start(
        self,
        *argv: str,
        job: str | None = None,
        uid: int = 0,
        cpus: float = 0,
        cgroupfs: str = "/sys/fs/cgroup",
        **options: object,
    ) -> "subprocess.Popen[bytes]":
        result = self.directory / "result"
        result.mkdir(exist_ok=True)
        result.chmod(0o777)
        asked = {
            "argv": argv,
            "job": job,
            "uid": uid,
            "cpus": cpus,
            "cgroupfs": cgroupfs,
            "socket": str(self.socket_path),
            "result": str(result / "result.json"),
        }
        command = [sys.executable, "-c", CLIENT, json.dumps(asked)]
        return subprocess.Popen(command, **options)  # type: ignore[call-overload, no-any-return]

    def finish(self, client: "subprocess.Popen[bytes]") -> dict[str, object]:
        """Serve until the client has ended; return what it says."""
        while client.poll() is None:
            self.serve()
            time.sleep(0.001)
        self.serve()
        self.tick()
        self.tick()
        file = self.directory / "result" / "result.json"
        result: dict[str, object] = json.loads(file.read_text()) if file.exists() else {}
        file.unlink(missing_ok=True)
        return result

    def run(self, *argv: str, **options: object) -> dict[str, object]:
        return self.finish(self.start(*argv, **options))  # type: ignore[arg-type]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 300
        while not condition():
            assert time.monotonic() < deadline_s, "it never came about"
            self.serve()
            time.sleep(0.001)


@pytest.fixture
def node() -> Iterator[Node]:
    # Other users must reach the socket: pytest's directories are closed to them.
    with tempfile.TemporaryDirectory(prefix="joulebook-run-") as name:
        Path(name).chmod(0o755)
        yield from _node(Path(name))


def _node(directory: Path) -> Iterator[Node]:
    node = Node(directory)
    before = _descriptors(node)
    yield node
    node.tick()
    node.tick()
    # Zombies leave a group a moment later; the agent removes what its client could not.
    node.until(lambda: bool(_tick_and_list(node)) and not _run_groups(node))
    after = _descriptors(node)
    node.socket.close()
    node.workloads.close()
    assert after == before, "nothing leaks"


def _run_groups(node: Node) -> list[Path]:
    """Return the groups of this node's runs that are there; those of others are not ours."""
    cpu = locate(Path("/sys/fs/cgroup")).cpu
    if cpu is None:
        return []
    directory = cpu.directory(cgroup_paths(Path("/proc"), "self")[cpu.key])
    return [directory / name for name in node.groups if (directory / name).exists()]


def _descriptors(node: Node) -> int:
    """Count what is open, but for the files of groups that are not of this node's runs: those come and go."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of this very listing
            target = str(descriptor.readlink())
            count += not target.startswith("/sys/fs/cgroup/") or any(name in target for name in node.groups)
    return count


@pytest.fixture(params=[0, NOBODY], ids=["own cgroup", "process tree"])
def uid(request: pytest.FixtureRequest, need: Callable[[str], None]) -> int:
    """The two ways to follow a command: root makes it a cgroup, others cannot."""
    if os.getuid() != 0:
        need("root")
    uid: int = request.param
    return uid


def test_command_is_booked_with_its_cpu_time(node: Node, uid: int) -> None:
    """A short command's CPU time is what the kernel says of its processes."""
    burn = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; times"
    result = node.run(
        "/bin/sh", "-c", f"({burn}); ({burn}); exit 3", uid=uid, cpus=1.5, stdout=subprocess.DEVNULL
    )
    job = str(result["job_id"])
    assert (result["exit_status"], result["warning"]) == (3, "")
    assert node.ended[job] == 3
    workload = node.seen[job]
    assert (workload.kind, workload.source, workload.name) == (JOB, "run", "sh")
    assert workload.user == ("nobody" if uid else "root")
    assert workload.reserved_millicpus == min(1500, 1000 * (os.cpu_count() or 1))
    assert job not in node.live
    wall_us = int(str(result["ended_unix_us"])) - int(str(result["started_unix_us"]))
    # The rest is the fork before the clock starts and the wrapper's way out.
    assert 0 < node.cpu_us[job] < 1.5 * wall_us + 100_000


def test_cpu_time_is_that_of_rusage(node: Node, uid: int, need: Callable[[str], None]) -> None:
    """The CPU time of a command is what the command itself counts, within scheduler accuracy."""
    script = node.directory / "burn.sh"
    # The shell says itself what it and its children used, on its last line.
    script.write_text("i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done\ncat /proc/$$/schedstat\n")
    script.chmod(0o755)
    if not Path("/proc/self/schedstat").exists():
        need("CONFIG_SCHED_INFO")
    client = node.start("/bin/sh", str(script), uid=uid, stdout=subprocess.PIPE)
    result = node.finish(client)
    assert client.stdout
    with client.stdout as output:
        own_us = int(output.read().split()[0]) // 1000
    cpu_us = node.cpu_us[str(result["job_id"])]
    # Besides: the wait at the gate and exec before, cat and exit after. Counted twice it would be too much.
    assert own_us * 0.9 - 1_000 <= cpu_us <= own_us * 1.5 + 100_000


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["true"], 0),
        (["/bin/sh", "-c", "exit 3"], 3),
        (["no-such-command-anywhere"], 127),
        (["/no/such/file"], 127),
        (["/etc/passwd"], 126),
        (["/"], 126),
        (["/bin/sh", "-c", "kill -TERM $$"], 128 + 15),
        (["/bin/sh", "-c", "kill -KILL $$"], 128 + 9),
    ],
)
def test_exit_status_is_as_in_a_shell(node: Node, uid: int, argv: list[str], status: int) -> None:
    """The wrapper exits as the command did, and the agent is told the same."""
    client = node.start(*argv, uid=uid, stderr=subprocess.DEVNULL)
    result = node.finish(client)
    assert (client.returncode, result["exit_status"]) == (status, status)
    assert node.ended == {result["job_id"]: status}


def test_script_without_interpreter_line_runs(node: Node) -> None:
    """A script that a shell would run runs here too."""
    script = node.directory / "plain"
    script.write_text("exit 7\n")
    script.chmod(0o755)
    assert node.run(str(script))["exit_status"] == 7


def test_without_agent_the_command_runs(tmp_path: Path, node: Node) -> None:
    """No agent: the command runs all the same, and the warning says how to start one."""
    node.socket_path = tmp_path / "nowhere.sock"
    result = node.run("/bin/sh", "-c", "exit 4")
    assert (result["exit_status"], result["job_id"]) == (4, None)
    assert "joulebook up" in str(result["warning"])


def test_refused_name_does_not_stop_the_command(node: Node) -> None:
    """A job name that cannot be is a warning naming the field, no more."""
    result = node.run("/bin/sh", "-c", "exit 5", job="a/b")
    assert (result["exit_status"], result["job_id"]) == (5, None)
    assert "$.id" in str(result["warning"])


def test_agent_that_goes_away_does_not_stop_the_command(node: Node) -> None:
    """An agent that ends meanwhile costs the booking's end, not the command."""
    client = node.start("/bin/sh", "-c", "read line; exit 6", stdin=subprocess.PIPE)
    node.until(lambda: any(each.startswith("run.") for each in _tick_and_list(node)))
    node.socket.close()
    client.communicate(b"\n")
    assert client.returncode == 6
    result = json.loads((node.directory / "result" / "result.json").read_text())
    assert "went away" in result["warning"]
    node.workloads.end_run(LostRun(result["job_id"]))
    node.socket = RunSocket(node.socket_path)


def _tick_and_list(node: Node) -> set[str]:
    node.tick()
    return node.live


TRAP = "trap 'echo {name}; exit 9' {name}; echo ready; while :; do sleep 0.01; done"


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_are_passed_on_once(node: Node, uid: int, name: str) -> None:
    """A signal sent to the wrapper reaches the command, which decides how to end."""
    client = node.start("/bin/sh", "-c", TRAP.format(name=name), uid=uid, stdout=subprocess.PIPE)
    assert client.stdout
    _wait_for(node, client.stdout.fileno(), b"ready")
    client.send_signal(signal.Signals[f"SIG{name}"])
    result = node.finish(client)
    with client.stdout as output:
        assert output.read().strip() == name.encode()
    assert result["exit_status"] == 9


def _wait_for(node: Node, fd: int, text: bytes) -> bytes:
    """Serve and read until the text has come."""
    os.set_blocking(fd, False)
    read = bytearray()

    def came() -> bool:
        with contextlib.suppress(BlockingIOError):
            read.extend(os.read(fd, 4096))
        return text in read

    node.until(came)
    os.set_blocking(fd, True)
    return bytes(read)


COUNT_INTERRUPTS = """
import signal, sys, time
count = 0
def on_interrupt(*_):
    global count
    count += 1
signal.signal(signal.SIGINT, on_interrupt)
print("ready", flush=True)
end = time.monotonic() + 60
while not count and time.monotonic() < end: time.sleep(0.01)
settle = time.monotonic() + 0.3
while time.monotonic() < settle: time.sleep(0.01)
print(f"interrupts {count}.", flush=True)
"""


def test_terminal_interrupt_arrives_once(node: Node) -> None:
    """Ctrl-C at the terminal reaches the command from the terminal, and not again from the wrapper."""
    ours, theirs = pty.openpty()
    client = node.start(
        sys.executable,
        "-S",
        "-c",
        COUNT_INTERRUPTS,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    _wait_for(node, ours, b"ready")
    os.write(ours, b"\x03")
    assert b"interrupts 1" in _wait_for(node, ours, b".")
    assert node.finish(client)["exit_status"] == 0
    os.close(ours)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_stopped_and_continued(node: Node) -> None:
    """SIGTSTP stops command and wrapper, so that a shell sees the job stopped; SIGCONT continues both."""
    # In a group of its own with its parent in the session outside it, as a shell's job.
    client, command_pid = _waiting_job(node, process_group=0)
    assert client.stdin
    client.send_signal(signal.SIGTSTP)
    node.until(lambda: _state(client.pid) == "T" and _state(command_pid) == "T")
    client.send_signal(signal.SIGCONT)
    node.until(lambda: _state(command_pid) != "T")
    _end_job(node, client)


def test_not_stopped_where_nobody_could_continue_it(node: Node) -> None:
    """In a session without a shell, as under cron, SIGTSTP stops nobody: neither command nor wrapper."""
    client, command_pid = _waiting_job(node, start_new_session=True)
    client.send_signal(signal.SIGTSTP)
    client.send_signal(signal.SIGUSR1)
    assert client.stdout
    _wait_for(node, client.stdout.fileno(), b"told\n")
    node.until(lambda: not _pending(client.pid) >> (signal.SIGTSTP - 1) & 1)
    assert "T" not in (_state(client.pid), _state(command_pid))
    _end_job(node, client)


def _waiting_job(node: Node, **options: object) -> "tuple[subprocess.Popen[bytes], int]":
    """Start a command that waits for a line, then exits with 8; return it with the command's own pid."""
    script = "trap 'echo told' USR1; echo $$; read line || read line; exit 8"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    client = node.start("/bin/sh", "-c", script, **pipes, **options)  # type: ignore[arg-type]
    assert client.stdout
    return client, int(_wait_for(node, client.stdout.fileno(), b"\n"))


def _end_job(node: Node, client: "subprocess.Popen[bytes]") -> None:
    assert client.stdin
    assert client.stdout
    client.stdin.write(b"\n")
    client.stdin.close()
    assert node.finish(client)["exit_status"] == 8
    client.stdout.close()


def _pending(pid: int) -> int:
    """Return the signals that wait for a process, as a mask; see proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("ShdPnd:\t")[2].split()[0], 16)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_killed_client_ends_its_run(node: Node, uid: int) -> None:
    """A wrapper killed outright ends the run there, status unknown; its group goes when it is empty."""
    client = node.start("/bin/sh", "-c", "echo $$; exec sleep 60", uid=uid, stdout=subprocess.PIPE)
    assert client.stdout
    command_pid = int(_wait_for(node, client.stdout.fileno(), b"\n"))
    node.tick()
    (job,) = (each for each in node.live if each.startswith("run."))
    client.kill()
    client.wait()
    client.stdout.close()
    node.until(lambda: job in node.ended)
    assert node.ended[job] == -1
    node.tick()
    assert job not in node.live
    os.kill(command_pid, signal.SIGKILL)
    node.until(lambda: bool(_tick_and_list(node)) and not _run_groups(node))


def test_background_processes_outlive_the_job(node: Node, uid: int) -> None:
    """The job ends with the command; what it left running goes back to where it would have been."""
    client = node.start("/bin/sh", "-c", "sleep 60 >/dev/null & echo $!", uid=uid, stdout=subprocess.PIPE)
    result = node.finish(client)
    assert client.stdout
    with client.stdout as output:
        left_pid = int(output.read())
    assert result["exit_status"] == 0
    assert cgroup_paths(Path("/proc"), left_pid) == cgroup_paths(Path("/proc"), "self")
    os.kill(left_pid, signal.SIGKILL)


def test_several_at_once_under_one_name(node: Node, uid: int) -> None:
    """Runs of one name at the same time are told apart; one after the other they go on as one."""
    first = node.start("/bin/sh", "-c", "read line; exit 1", job="sim", uid=uid, stdin=subprocess.PIPE)
    node.until(lambda: "run.sim" in _tick_and_list(node))
    second = node.run("/bin/sh", "-c", "exit 2", job="sim", uid=uid)
    assert second["job_id"] == "run.sim.2"
    assert first.stdin
    first.stdin.close()
    assert node.finish(first)["job_id"] == "run.sim"
    used_us = node.cpu_us["run.sim"]
    assert node.run("true", job="sim", uid=uid)["job_id"] == "run.sim"
    assert node.cpu_us["run.sim"] > used_us


@pytest.mark.parametrize("cgroupfs", ["/sys/fs/cgroup", "/nowhere"], ids=["own cgroup", "process tree"])
def test_run_inside_a_run(node: Node, cgroupfs: str) -> None:
    """A wrapped command that wraps another contains it, in its parent and in its CPU time."""
    inner = {
        "argv": ["/bin/sh", "-c", "read line; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"],
        "job": "inner",
        "uid": 0,
        "cpus": 0,
        "cgroupfs": cgroupfs,
        "socket": str(node.socket_path),
        "result": "/dev/null",
    }
    command = (sys.executable, "-c", CLIENT, json.dumps(inner))
    client = node.start(*command, job="outer", cgroupfs=cgroupfs, stdin=subprocess.PIPE)
    node.until(lambda: "run.inner" in _tick_and_list(node))
    assert node.seen["run.inner"].parent == "run.outer"
    assert client.stdin
    client.stdin.write(b"\n")
    client.stdin.close()
    node.finish(client)
    assert 0 < node.cpu_us["run.inner"] <= node.cpu_us["run.outer"]


def test_nobody_books_anothers_process(node: Node) -> None:
    """A process that is not the client's child cannot be announced."""
    with pytest.raises(RunRefusedError, match=f"pid: process {os.getppid()} is no child"):
        node.workloads.begin_run(BeginRun("run.x", "0" * 16, os.getppid()), os.getpid(), 0)
    with pytest.raises(RunRefusedError, match="pid: no process"):
        node.workloads.begin_run(BeginRun("run.x", "0" * 16, 2**30), os.getpid(), 0)


def test_root_gets_a_cgroup(node: Node, need: Callable[[str], None]) -> None:
    """Where the wrapper may make a group, the kernel's own counter is read, not the process tree."""
    if os.getuid() != 0 or locate(Path("/sys/fs/cgroup")).cpu is None:
        need("root and a cgroup hierarchy")
    client = node.start("/bin/sh", "-c", "read line", stdin=subprocess.PIPE)
    node.until(lambda: len(_tick_and_list(node)) > 0 and any(each.startswith("run.") for each in node.live))
    (run,) = node.workloads._runs.by_id.values()
    assert all(isinstance(column, FileColumn) for column in run.member.columns)
    assert client.stdin
    client.stdin.close()
    node.finish(client)
