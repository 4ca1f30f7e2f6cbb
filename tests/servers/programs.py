"""Servers as programs: found, started on a free loopback port, and stopped by their pids."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

# Below those that the kernel gives to outgoing connections, which would take it before the server starts.
_PORTS = range(12_000, 32_000)
_PATIENCE_S = 120.0
# Held until this process ends, so that no test beside it, of whatever checkout, is given the same port.
_reserved: list[socket.socket] = []


def free_port() -> int:
    """Return a port that nobody listens on, and that no other test is given."""
    while True:
        port = random.choice(_PORTS)
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            ours.bind(f"\0joulebook-test-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            ours.close()
            continue
        _reserved.append(ours)
        return port


def program(*names: str, package: str) -> str:
    """Return a server's program, or skip the test; in CI it must be there."""
    for name in names:
        if found := shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin"):
            return found
    reason = f"{names[0]} is missing: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[int]:
    """Run a server until the block is left, by its pid; wait for its port first."""
    with log.open("ab") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + _PATIENCE_S
            while time.monotonic() < deadline:
                assert process.poll() is None, f"{command[0]} ended: {log.read_text()[-2000:]}"
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            else:
                raise RuntimeError(f"{command[0]} does not listen on {port}")
            yield process.pid
        finally:
            process.terminate()
            # A test that failed while it had the server stopped must not wait for ever.
            process.send_signal(signal.SIGCONT)
            process.wait()
