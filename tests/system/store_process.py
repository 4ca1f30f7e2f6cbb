"""A collector as a process of its own, over one store."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from joulebook.collector.check.books import embedded
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb.file import read_only
from joulebook.collector.store.duckdb.files import Files
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.duckdb.rows import EVER
from tests.servers.programs import free_port
from tests.simulated.delivery import total_uj
from tests.system.site import JOULEBOOK

_PATIENCE_S = 300.0


class StoreProcess:
    """It can be started, killed and stopped, and its store looked at when it is not running."""

    def __init__(self, store: Path, log: Path) -> None:
        self.store, self.log = store, log
        self._http, self.grpc = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start it."""
        arguments = [f"--http={self._http}", f"--grpc={self.grpc}", f"--store={self.store}"]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([*JOULEBOOK, "collector", *arguments], stdout=out, stderr=out)
        return self.process

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def said(self, words: str) -> None:
        """Wait until it has said something."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while words not in self.log.read_text():
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < deadline_s, self.log.read_text()[-2000:]
            time.sleep(0.05)

    def ready(self) -> None:
        """Wait until it answers."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            with suppress(URLError, ConnectionError, TimeoutError):
                with urlopen(f"http://{self._http}/readyz", timeout=60) as answer:
                    assert answer.status == 200
                return
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < deadline_s
            time.sleep(0.05)

    def sound(self) -> tuple[set[int], int]:
        """Check the store as it was left; return its Reports and what was booked."""
        with read_only(self.store) as connection:
            view = Reads(connection, Files(self.store))
            findings = embedded(view, Policy.RESERVED)
            assert not findings, findings[:3]
            marks = view._marks(EVER, "start_us, is_gap")
            found = view._rows(f"SELECT start_us FROM {marks} WHERE NOT is_gap")
            return {start_us for (start_us,) in found}, total_uj(view)  # type: ignore[arg-type]
