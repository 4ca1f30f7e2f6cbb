"""The wrapper of `joulebook run`: the command as if it were not there, and its begin and end announced."""

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from joulebook.agent.workloads.rungroup import RunGroup
from joulebook.agent.workloads.runwire import MAX_PACKET_BYTES, BeginRun, EndRun, Reply

_ANSWER_S = 5.0
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_BY_SIGNAL = 128
_PR_SET_CHILD_SUBREAPER = 36
_SI_FROM_KERNEL = 0x80
_PASSED_ON = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
    signal.SIGTSTP,
)
_WATCHED = frozenset((*_PASSED_ON, signal.SIGCHLD))


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a command ended, and the job it was booked under (None: it was not, and warning says why)."""

    exit_status: int
    job_id: str | None
    started_unix_us: int
    ended_unix_us: int
    warning: str


class _Agent:
    """The connection to the agent. What goes wrong becomes the warning; the command runs regardless."""

    def __init__(self, path: Path) -> None:
        self.job_id: str | None = None
        self.warning = ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_ANSWER_S)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self.warning = (
                f"not booked: no joulebook agent answers at {path} ({error.strerror or error}); "
                "start one with `joulebook up`"
            )

    def ask(self, message: BeginRun | EndRun) -> None:
        """Send a message and take the answer."""
        if self.warning:
            return
        try:
            self._socket.send(msgspec.json.encode(message))
            reply = msgspec.json.decode(self._socket.recv(MAX_PACKET_BYTES), type=Reply)
        except (OSError, ValueError) as error:
            reply = Reply(error=f"the joulebook agent went away ({error})")
        if reply.error:
            self.warning = (
                f"not booked to its end: {reply.error}" if self.job_id else f"not booked: {reply.error}"
            )
        elif isinstance(message, BeginRun):
            self.job_id = reply.id

    def close(self) -> None:
        self._socket.close()


def run_command(
    argv: list[str],
    *,
    job: str | None,
    name: str,
    cpus: float,
    socket_path: Path,
    cgroupfs: Path = Path("/sys/fs/cgroup"),
    procfs: Path = Path("/proc"),
) -> RunResult:
    """Run a command to its end, booked by the agent behind socket_path where there is one.

    Waits for every child of this process, so it must have no others.
    """
    token = secrets.token_hex(8)
    agent = _Agent(socket_path)
    group = None if agent.warning else RunGroup(token, cgroupfs, procfs)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    # Orphans of the command come to us, so that what they used is known.
    reaped_before = _set_subreaper(True)
    gate, release = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(argv, gate, release, mask)
    os.close(gate)
    try:
        if group:
            group.enter(pid)
        agent.ask(
            BeginRun(
                f"run.{job or token}",
                token,
                pid,
                (name or Path(argv[0]).name).encode(errors="replace").decode()[:256],
                reserved_millicpus=round(cpus * 1000),
            )
        )
        started_unix_us = time.time_ns() // 1000
        os.write(release, b"\n")
        exit_status, usage_us = _wait(pid)
        ended_unix_us = time.time_ns() // 1000
        if agent.job_id:
            agent.ask(EndRun(agent.job_id, exit_status, usage_us))
    finally:
        os.close(release)
        agent.close()
        if group:
            group.remove()
        _set_subreaper(reaped_before)
        while signal.sigtimedwait(_WATCHED, 0):
            pass  # meant for the command, which has ended
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return RunResult(exit_status, agent.job_id, started_unix_us, ended_unix_us, agent.warning)


def _become(argv: list[str], gate: int, release: int, mask: Iterable[int]) -> NoReturn:
    """Wait at the gate, then be the command. Runs in the child and never returns."""
    status = _NOT_EXECUTABLE
    try:
        os.close(release)
        if os.read(gate, 1):
            _restore_signals(mask)
            try:
                os.execvp(argv[0], argv)
            except OSError as error:
                if error.errno == errno.ENOEXEC and (script := shutil.which(argv[0])):
                    os.execv("/bin/sh", ["sh", script, *argv[1:]])  # as execvp(3) does
                # Searching a PATH with directories closed to us ends in EACCES, found or not.
                found = "/" in argv[0] or shutil.which(argv[0], os.F_OK)
                if not found or error.errno in (errno.ENOENT, errno.ENOTDIR):
                    status = _NOT_FOUND
                os.write(2, os.fsencode(f"joulebook: {argv[0]}: {error.strerror}\n"))
    finally:
        os._exit(status)


def _restore_signals(mask: Iterable[int]) -> None:
    # Python ignores these two for itself; what our own caller ignores stays ignored.
    for ours in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ours, signal.SIG_DFL)
    for each in _WATCHED:
        if signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _wait(command_pid: int) -> tuple[int, int]:
    """Pass signals on until the command ends; return its status as in a shell and the CPU time waited for."""
    usage_us = 0
    while True:
        info = signal.sigwaitinfo(_WATCHED)
        if info.si_signo != signal.SIGCHLD:
            _pass_on(info, command_pid)
            continue
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            usage_us += round((usage.ru_utime + usage.ru_stime) * 1e6)
            if pid == command_pid:
                code = os.waitstatus_to_exitcode(status)
                return (code if code >= 0 else _BY_SIGNAL - code), usage_us


def _pass_on(info: signal.struct_siginfo, command_pid: int) -> None:
    # The terminal tells the whole foreground group, the command too: telling it again would be twice.
    if info.si_code != _SI_FROM_KERNEL:
        with contextlib.suppress(ProcessLookupError):
            os.kill(command_pid, info.si_signo)
    if info.si_signo == signal.SIGTSTP:
        # Our shell waits for us to stop; its SIGCONT goes to the group again. By the same signal, since the
        # kernel stops nobody by it where there is no shell that could continue them.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})


def _set_subreaper(on: bool) -> bool:
    """Set whether orphans below us become our children; return what it was."""
    prctl = ctypes.CDLL(None).prctl
    before = ctypes.c_int()
    prctl(37, ctypes.byref(before), 0, 0, 0)  # PR_GET_CHILD_SUBREAPER
    prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(on), 0, 0, 0)
    return bool(before.value)
