"""InfluxDB 1.6 with nginx in front, which gives it the writes of later versions; and VictoriaMetrics."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from joulebook.collector.store.influxdb_address import InfluxAddress
from joulebook.collector.store.influxdb_http import InfluxServer
from joulebook.collector.store.influxdb_setup import setup

_HERE = Path(__file__).parent


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
            deadline = time.monotonic() + 30
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


def _filled(template: str, directory: Path, **values: object) -> Path:
    text = (_HERE / template).read_text().replace("@DIR@", str(directory))
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    path = directory / template
    path.write_text(text)
    return path


@dataclass(slots=True)
class RunningInflux:
    """A server: where its databases are, its own port behind nginx, and its pid."""

    port: int
    direct_port: int
    pid: int
    _databases: int = 0

    def address(self, database: str) -> str:
        """Return the address of a database."""
        return f"influxdb://127.0.0.1:{self.port}/{database}"

    def fresh(self) -> str:
        """Make a database that nothing is in, and return its address."""
        self._databases += 1
        address = self.address(f"joulebook{self._databases}")
        server = self.server(address)
        setup(server)
        server.close()
        return address

    @staticmethod
    def server(address: str, authorization: str = "") -> InfluxServer:
        """Return a way to a database."""
        return InfluxServer(InfluxAddress.parse(address), authorization)


@contextmanager
def influxdb(directory: Path, *, auth: bool = False) -> Iterator[RunningInflux]:
    """Run InfluxDB and nginx in a directory."""
    daemon = program("influxd", package="influxdb")
    nginx = program("nginx", package="nginx-light")
    direct, rpc, port = free_port(), free_port(), free_port()
    directory.mkdir(parents=True, exist_ok=True)
    config = _filled("influxdb.conf", directory, PORT=direct, RPC=rpc, AUTH=str(auth).lower())
    front = _filled("influxdb-v2-writes.conf", directory, PORT=port, INFLUXDB=direct)
    with (
        running([daemon, "run", "-config", str(config)], direct, directory / "influxd.log") as pid,
        running(
            [nginx, "-c", str(front), "-p", f"{directory}/", "-e", str(directory / "error.log")],
            port,
            directory / "nginx.log",
        ),
    ):
        yield RunningInflux(port, direct, pid)


@contextmanager
def victoria_metrics(directory: Path) -> Iterator[int]:
    """Run VictoriaMetrics in a directory; yields its port."""
    daemon = program("victoria-metrics", package="victoria-metrics")
    port = free_port()
    command = [
        daemon,
        f"-storageDataPath={directory}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=100y",
        "-search.latencyOffset=0s",
    ]
    directory.mkdir(parents=True, exist_ok=True)
    with running(command, port, directory / "victoria-metrics.log"):
        yield port
