"""A collector and an agent as programs, and a meter of known truth."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.servers.programs import free_port
from tests.simulated.counter import Counter

JOULEBOOK = [sys.executable, "-m", "joulebook.cli.main"]
_PATIENCE_S = 300.0


class Site:
    """A collector and an agent of this machine, each of which can be killed and started again."""

    def __init__(
        self, directory: Path, store: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory
        self._store = store or f"{directory}/books"
        self.counter = Counter(directory / "sys")
        ports = [free_port() for _ in range(4)]
        # A second collector, where a test starts it, shares the store.
        self._http, self._grpc, self._http2, self._grpc2 = (f"127.0.0.1:{port}" for port in ports)
        self._environment = os.environ | {
            "JOULEBOOK_SERVER": f"http://{self._http}",
            "JOULEBOOK__AGENT__SOCKET": f"{directory}/agent.sock",
            "JOULEBOOK__AGENT__SPOOL": f"{directory}/spool",
            "JOULEBOOK__AGENT__TICK_S": "0.05",
            "JOULEBOOK__AGENT__REPORT_S": "0.2",
            # What the made-up counter shows is all caused by use: what is whose is told by CPU time alone.
            "JOULEBOOK__AGENT__IDLE_POWER_MW": '{"cpu.0" = 1}',
            **(environment or {}),
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, program: str) -> None:
        """Start the agent or the collector."""
        arguments = {
            "collector": [f"--http={self._http}", f"--grpc={self._grpc}", f"--store={self._store}"],
            "collector2": [f"--http={self._http2}", f"--grpc={self._grpc2}", f"--store={self._store}"],
            "agent": [
                f"--collector={self._grpc},{self._grpc2}",
                f"--sysfs={self.directory}/sys",
                "--node=here",
            ],
        }
        command = [*JOULEBOOK, program.rstrip("2"), *arguments[program]]
        self.running[program] = subprocess.Popen(command, env=self._environment)

    def end(self, program: str, number: signal.Signals) -> int:
        """Send a program a signal and wait for its end."""
        process = self.running.pop(program)
        process.send_signal(number)
        return process.wait()

    def ask(self, path: str) -> Any:
        """Ask a collector's API."""
        http = self._http if "collector" in self.running else self._http2
        with urlopen(f"http://{http}/api/v1/{path}") as answer:
            return json.load(answer)

    @property
    def url(self) -> str:
        """Where the collector's HTTP API is."""
        return f"http://{self._http}"

    def until(self, holds: Callable[[Any], bool], path: str = "ledger?from=-1h") -> Any:
        """Ask until the answer is as it should be, through times when nobody answers."""
        deadline_s = time.monotonic() + _PATIENCE_S
        found = None
        while True:
            with suppress(URLError, ConnectionError):
                if holds(found := self.ask(path)):
                    return found
            for process in self.running.values():
                assert process.poll() is None
            assert time.monotonic() < deadline_s, f"{path} is still {found}"
            time.sleep(0.02)

    def line_of(self, job: str) -> list[str]:
        """Return the words of the one line that `joulebook jobs` has of a job."""
        told = self.shown("jobs", "--limit", "1000")
        (line,) = (each for each in told.splitlines() if each.split()[0] == job)
        return line.split()

    def shown(self, *arguments: str) -> str:
        """Return what joulebook prints."""
        command = [*JOULEBOOK, *arguments]
        told = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True)
        return told.stdout

    def run(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command as a job."""
        return subprocess.run(
            [*JOULEBOOK, "run", "--json", *command], env=self._environment, capture_output=True, check=True
        )
