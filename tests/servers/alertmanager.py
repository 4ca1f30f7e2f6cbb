"""Debian's Alertmanager 0.25, and somebody whom it notifies."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.servers.programs import free_port, program, running

_HERE = Path(__file__).parent
_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class RunningAlertmanager:
    """A server: where it is, and its pid."""

    url: str
    pid: int

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that it holds as firing, resolved ones aside."""
        with urlopen(f"{self.url}/api/v2/alerts") as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found

    def has_noted(self) -> bool:
        """Say whether it has noted whom it told first: it looks a second time, and does one at a time."""
        with urlopen(f"{self.url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        (count,) = (line.split()[1] for line in lines if line.startswith("alertmanager_nflog_queries_total "))
        return float(count) >= 2


@dataclass(slots=True)
class Receiver:
    """A webhook: what Alertmanager tells people, (status, alertname) each."""

    url: str
    told: list[tuple[str, str]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, *told: tuple[str, str]) -> None:
        """Wait until all of these came, in this order among themselves."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: _in_order(told, self.told), _PATIENCE_S), self.told


def _in_order(wanted: tuple[tuple[str, str], ...], told: list[tuple[str, str]]) -> bool:
    rest = iter(told)
    return all(one in rest for one in wanted)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen for notifications until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            with found.arrived:
                found.told += [(one["status"], one["labels"]["alertname"]) for one in told["alerts"]]
                found.arrived.notify_all()

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_address[1]}/")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def alertmanager(
    directory: Path,
    *,
    webhook: str = "http://127.0.0.1:1/",
    port: int = 0,
    config: Path | None = None,
    web: Path | None = None,
) -> Iterator[RunningAlertmanager]:
    """Run it in a directory, on a port of its own or the one given; config in place of the short one.

    web is the file that gives it TLS.
    """
    daemon = program("prometheus-alertmanager", package="prometheus-alertmanager")
    directory.mkdir(parents=True, exist_ok=True)
    if config is None:
        config = directory / "alertmanager.yml"
        config.write_text((_HERE / "alertmanager.yml").read_text().replace("@WEBHOOK@", webhook))
    port = port or free_port()
    command = [
        daemon,
        f"--config.file={config}",
        f"--storage.path={directory}",
        f"--web.listen-address=127.0.0.1:{port}",
        # No cluster: it would look for the machine's addresses.
        "--cluster.listen-address=",
    ]
    if web:
        command.append(f"--web.config.file={web}")
    with running(command, port, directory / "alertmanager.log") as pid:
        yield RunningAlertmanager(f"{'https' if web else 'http'}://127.0.0.1:{port}", pid)
