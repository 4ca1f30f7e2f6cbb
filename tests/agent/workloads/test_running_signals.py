"""Signals and terminals of commands under the wrapper."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.agent.workloads.runnode import Node, wait_for

TRAP = "trap 'echo {name}; exit 9' {name}; echo ready; while :; do sleep 0.01; done"


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_are_passed_on_once(node: Node, uid: int, name: str) -> None:
    """A signal sent to the wrapper reaches the command, which decides how to end."""
    client = node.start("/bin/sh", "-c", TRAP.format(name=name), uid=uid, stdout=subprocess.PIPE)
    assert client.stdout
    wait_for(node, client.stdout.fileno(), b"ready")
    client.send_signal(signal.Signals[f"SIG{name}"])
    result = node.finish(client)
    with client.stdout as output:
        assert output.read().strip() == name.encode()
    assert result["exit_status"] == 9


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
    wait_for(node, ours, b"ready")
    os.write(ours, b"\x03")
    assert b"interrupts 1" in wait_for(node, ours, b".")
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
    wait_for(node, client.stdout.fileno(), b"told\n")
    node.until(lambda: not _pending(client.pid) >> (signal.SIGTSTP - 1) & 1)
    assert "T" not in (_state(client.pid), _state(command_pid))
    _end_job(node, client)


def _waiting_job(node: Node, **options: object) -> "tuple[subprocess.Popen[bytes], int]":
    """Start a command that waits for a line, then exits with 8; return it with the command's own pid."""
    script = "trap 'echo told' USR1; echo $$; read line || read line; exit 8"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    client = node.start("/bin/sh", "-c", script, **pipes, **options)  # type: ignore[arg-type]
    assert client.stdout
    return client, int(wait_for(node, client.stdout.fileno(), b"\n"))


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
