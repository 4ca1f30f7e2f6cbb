"""Ceph, the real daemons: a monitor and an OSD that keeps its objects in memory, on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.programs import free_port, program

_CONFIGURATION = Path(__file__).with_suffix(".conf")
_LIMIT_S = 120.0
_POOL = "joulebook"


@dataclass(frozen=True, slots=True)
class RunningCeph:
    """A cluster: the directory of its admin sockets, and the pid of its OSD."""

    directory: Path
    osd_pid: int

    def command(self, *words: str) -> str:
        """Run one of Ceph's own commands to its end."""
        program(words[0], package="ceph-common")
        ended = subprocess.run(
            [words[0], "-c", str(self.directory / "ceph.conf"), *words[1:]],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        assert ended.returncode == 0, f"{' '.join(words)}: {ended.stderr[-2000:]}"
        return ended.stdout

    def put(self, name: str, content: bytes) -> None:
        """Write an object, and wait until the OSD has it."""
        path = self.directory / f"{name}.object"
        path.write_bytes(content)
        self.command("rados", "-p", _POOL, "put", name, str(path))

    def get(self, name: str) -> bytes:
        """Read an object."""
        path = self.directory / f"{name}.read"
        self.command("rados", "-p", _POOL, "get", name, str(path))
        return path.read_bytes()


@contextmanager
def ceph() -> Iterator[RunningCeph]:
    """Run a cluster until the block is left. Its directory has a short name: sockets' paths are bounded."""
    mon, osd = program("ceph-mon", package="ceph-mon"), program("ceph-osd", package="ceph-osd")
    maker = program("monmaptool", package="ceph-common")
    with (
        tempfile.TemporaryDirectory(prefix="jb-ceph-", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        directory = Path(name)
        port = free_port()
        conf = directory / "ceph.conf"
        text = _CONFIGURATION.read_text().replace("@DIR@", name).replace("@PORT@", str(port))
        conf.write_text(text)
        (directory / "keyring").write_text("")
        for made in ("mon.a", "osd.0"):
            (directory / made).mkdir()
        fsid = next(line.split()[-1] for line in text.splitlines() if line.startswith("fsid"))
        monmap = str(directory / "monmap")
        _done(maker, "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{port}]", monmap)
        _done(mon, "-c", str(conf), "--mkfs", "-i", "a", "--monmap", monmap)
        stack.enter_context(_running(directory, mon, "-c", str(conf), "-i", "a", "-f"))
        cluster = RunningCeph(directory, 0)
        osd_uuid = str(uuid.uuid4())
        cluster.command("ceph", "--connect-timeout", "60", "osd", "new", osd_uuid)
        _done(osd, "-c", str(conf), "-i", "0", "--mkfs", "--osd-uuid", osd_uuid, "--no-mon-config")
        pid = stack.enter_context(_running(directory, osd, "-c", str(conf), "-i", "0", "-f"))
        cluster = RunningCeph(directory, pid)
        deadline = time.monotonic() + _LIMIT_S
        while "1 up" not in cluster.command("ceph", "osd", "stat"):
            assert time.monotonic() < deadline, (directory / "osd.0.log").read_text()[-2000:]
        cluster.command("ceph", "osd", "pool", "create", _POOL, "1")
        yield cluster


def _done(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}: {(ended.stdout + ended.stderr)[-2000:]}"


@contextmanager
def _running(directory: Path, *command: str) -> Iterator[int]:
    """Run a daemon in a session of its own, and end it by its pid."""
    with (directory / f"{Path(command[0]).name}.out").open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
