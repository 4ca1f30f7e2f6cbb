"""What keeps the books of a fleet, killed and started again where it was."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

from tests.servers.influxdb import RunningInflux, influxdb
from tests.servers.programs import free_port
from tests.servers.victoriametrics import RunningVictoria, victoria_metrics


class Embedded:
    """A file of one collector's own: it is killed with it."""

    collectors = 1
    # Whether anything runs apart from the collectors.
    serves = False
    # The last word of a collector that began while its store was away. The service manager starts it again.
    away: str | None = None

    def __init__(self, directory: Path) -> None:
        self.name = str(directory / "books.duckdb")
        # What its collectors are told beside its name.
        self.environment: dict[str, str] = {}
        self.killed = 0

    def start(self) -> None:
        """Start what runs apart from the collectors."""

    def kill(self) -> None:
        """Kill -9 what runs apart from the collectors."""

    def waiting(self) -> set[int]:
        """Return what it keeps beside itself until it is sure to last; its collector stands still."""
        return set()

    def close(self) -> None:
        """End what is left of it."""


class _Served(Embedded):
    """A server, on ports that it keeps."""

    serves = True

    def __init__(
        self, directory: Path, begin: Callable[[], AbstractContextManager[RunningInflux | RunningVictoria]]
    ) -> None:
        super().__init__(directory)
        self._begin = begin
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        self._pid = self._running.enter_context(self._begin()).pid

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self.killed += 1
        self.close()

    def close(self) -> None:
        self._running.close()


class Influx(_Served):
    """A database in InfluxDB, which collectors share."""

    collectors, away = 2, "no InfluxDB answers"

    def __init__(self, directory: Path) -> None:
        ports = (free_port(), free_port())
        super().__init__(directory, lambda: influxdb(directory / "influxdb", ports=ports))
        self.name = RunningInflux(ports[0], self._pid, ports[1]).fresh()


class Victoria(_Served):
    """VictoriaMetrics, which says that it took what a kill takes from it, and a file of facts."""

    away = "no VictoriaMetrics answers"

    def __init__(self, directory: Path) -> None:
        port = free_port()
        super().__init__(directory, lambda: victoria_metrics(directory / "victoriametrics", port=port))
        self.name = RunningVictoria(port, self._pid).address
        self._facts = directory / "facts.sqlite"
        self.environment = {"JOULEBOOK__COLLECTOR__FACTS": str(self._facts)}

    def waiting(self) -> set[int]:
        # The collector alone may open the file.
        with tempfile.TemporaryDirectory(dir=self._facts.parent) as name:
            for own in self._facts.parent.glob(f"{self._facts.name}*"):
                shutil.copy(own, name)
            with closing(sqlite3.connect(Path(name) / self._facts.name)) as facts:
                return {mark for (mark,) in facts.execute("SELECT mark FROM kept")}


STORES = {"duckdb": Embedded, "influxdb": Influx, "victoriametrics": Victoria}
