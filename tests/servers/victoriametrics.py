"""VictoriaMetrics, the real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from tests.servers.programs import free_port, program, running


@dataclass(frozen=True, slots=True)
class RunningVictoria:
    """A server: where it is, and its pid."""

    port: int
    pid: int

    @property
    def address(self) -> str:
        """Return its address as a store."""
        return f"victoriametrics://127.0.0.1:{self.port}"

    def flush(self) -> None:
        """Have it show what it took."""
        with urlopen(f"http://127.0.0.1:{self.port}/internal/force_flush") as answer:
            answer.read()


@contextmanager
def victoria_metrics(directory: Path, *flags: str, port: int = 0) -> Iterator[RunningVictoria]:
    """Run VictoriaMetrics in a directory, with further flags, on a port or on a free one."""
    daemon = program("victoria-metrics", package="victoria-metrics")
    port = port or free_port()
    own = [] if any(flag.startswith("-retentionPeriod") for flag in flags) else ["-retentionPeriod=100y"]
    command = [daemon, f"-storageDataPath={directory}", f"-httpListenAddr=127.0.0.1:{port}", *own, *flags]
    directory.mkdir(parents=True, exist_ok=True)
    with running(command, port, directory / "victoria-metrics.log") as pid:
        yield RunningVictoria(port, pid)
