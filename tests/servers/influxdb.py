"""InfluxDB 1.6, as it is, or with nginx in front, which gives it the writes of version 1.8."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from joulebook.collector.store.influxdb_address import InfluxAddress
from joulebook.collector.store.influxdb_http import InfluxServer
from joulebook.collector.store.influxdb_setup import setup
from tests.servers.programs import free_port, program, running

_HERE = Path(__file__).parent


def _filled(template: str, directory: Path, **values: object) -> Path:
    text = (_HERE / template).read_text().replace("@DIR@", str(directory))
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    path = directory / template
    path.write_text(text)
    return path


@dataclass(slots=True)
class RunningInflux:
    """A server: where it answers, its pid, and its other port."""

    port: int
    pid: int
    rpc_port: int
    _databases: int = 0

    def address(self, database: str) -> str:
        """Return the address of a database."""
        return f"influxdb://127.0.0.1:{self.port}/{database}"

    def fresh(self) -> str:
        """Make a database that nothing is in, and return its address."""
        self._databases += 1
        address = self.address(f"joulebook{self.port}_{self._databases}")
        server = self.server(address)
        setup(server)
        server.close()
        return address

    @staticmethod
    def server(address: str, authorization: str = "") -> InfluxServer:
        """Return a way to a database."""
        return InfluxServer(InfluxAddress.parse(address), authorization)


@contextmanager
def influxdb(
    directory: Path, *, auth: bool = False, ports: tuple[int, int] | None = None
) -> Iterator[RunningInflux]:
    """Run InfluxDB in a directory, on two ports or on free ones."""
    daemon = program("influxd", package="influxdb")
    port, rpc = ports or (free_port(), free_port())
    directory.mkdir(parents=True, exist_ok=True)
    config = _filled("influxdb.conf", directory, PORT=port, RPC=rpc, AUTH=str(auth).lower())
    with running([daemon, "run", "-config", str(config)], port, directory / "influxd.log") as pid:
        yield RunningInflux(port, pid, rpc)


@contextmanager
def fronted(directory: Path, behind: RunningInflux) -> Iterator[RunningInflux]:
    """Run nginx before an InfluxDB, which makes it one of version 1.8 for whoever writes."""
    nginx = program("nginx", package="nginx-light")
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    config = _filled("influxdb-v2-writes.conf", directory, PORT=port, INFLUXDB=behind.port)
    command = [nginx, "-c", str(config), "-p", f"{directory}/", "-e", str(directory / "error.log")]
    with running(command, port, directory / "nginx.log"):
        yield replace(behind, port=port)
