"""Commands under the wrapper, from end to end: real processes, groups, signals and users."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.agent.workloads.column import FileColumn
from joulebook.agent.workloads.hierarchy import cgroup_paths, locate
from joulebook.agent.workloads.running import RunRefusedError
from joulebook.agent.workloads.runs import LostRun, RunSocket
from joulebook.agent.workloads.runwire import BeginRun
from joulebook.agent.workloads.workload import JOB
from tests.agent.workloads.runnode import CLIENT, Node, run_groups, tick_and_list, wait_for

PYTHON_BURN = "import time\nwhile time.process_time() < {seconds}: pass"


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
    node.until(lambda: any(each.startswith("run.") for each in tick_and_list(node)))
    node.socket.close()
    client.communicate(b"\n")
    assert client.returncode == 6
    result = json.loads((node.directory / "result" / "result.json").read_text())
    assert "went away" in result["warning"]
    node.workloads.end_run(LostRun(result["job_id"]))
    node.socket = RunSocket(node.socket_path)


def test_killed_client_ends_its_run(node: Node, uid: int) -> None:
    """A wrapper killed outright ends the run there, status unknown; its group goes when it is empty."""
    client = node.start("/bin/sh", "-c", "echo $$; exec sleep 60", uid=uid, stdout=subprocess.PIPE)
    assert client.stdout
    command_pid = int(wait_for(node, client.stdout.fileno(), b"\n"))
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
    node.until(lambda: bool(tick_and_list(node)) and not run_groups(node))


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
    node.until(lambda: "run.sim" in tick_and_list(node))
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
    node.until(lambda: "run.inner" in tick_and_list(node))
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
    node.until(lambda: len(tick_and_list(node)) > 0 and any(each.startswith("run.") for each in node.live))
    (run,) = node.workloads._runs.by_id.values()
    assert all(isinstance(column, FileColumn) for column in run.member.columns)
    assert client.stdin
    client.stdin.close()
    node.finish(client)
