"""Starts what is measured: joulebook's own programs and its peers, on free loopback ports."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], port: int | None = None, **environment: str) -> Iterator[int]:
    """Run a command until the block is left; wait for its port first. Yields its pid."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | environment
    ) as process:
        try:
            if port is not None:
                _wait_for(port, process)
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen on {port}")


def joulebook(*arguments: str) -> list[str]:
    """Return the command line of a joulebook command of this environment."""
    return [sys.executable, "-m", "joulebook.cli.main", *arguments]


def node_exporter(port: int) -> list[str]:
    """Return node_exporter's command line with the five collectors that read what the agent reads."""
    program = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if program is None:
        raise RuntimeError("node_exporter is missing: apt-get install prometheus-node-exporter")
    collectors = [f"--collector.{c}" for c in ("cpu", "meminfo", "diskstats", "netdev", "loadavg")]
    return [
        program,
        "--collector.disable-defaults",
        *collectors,
        f"--web.listen-address=127.0.0.1:{port}",
    ]


@contextmanager
def cgroups(count: int) -> Iterator[list[Path]]:
    """Make empty cgroups that the agent takes for workloads."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        parents = [root]
    else:
        parents = [root / name for name in ("cpuacct", "memory") if (root / name).is_dir()]
    made = [parent / f"joulebook-bench-{i}" for parent in parents for i in range(count)]
    try:
        for path in made:
            path.mkdir()
        yield made
    finally:
        for path in made:
            if path.is_dir():
                path.rmdir()
