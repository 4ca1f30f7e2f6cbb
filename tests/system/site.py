"""A collector and an agent as programs, and a meter of known truth."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

JOULEBOOK = [sys.executable, "-m", "joulebook.cli.main"]
_STEP_UJ = 50_003
_STEP_S = 0.005
_PATIENCE_S = 60.0
_RANGE_UJ = 262_143_328_850


class Counter:
    """A RAPL zone in a made-up /sys that counts about 10 W while it runs, and soon wraps."""

    def __init__(self, directory: Path) -> None:
        zone = directory / "class/powercap/intel-rapl:0"
        zone.mkdir(parents=True)
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text(f"{_RANGE_UJ}\n")
        (zone / "constraint_0_max_power_uw").write_text("10000000\n")
        (zone / "constraint_0_power_limit_uw").write_text("10000000\n")
        self._file = os.open(zone / "energy_uj", os.O_RDWR | os.O_CREAT)
        self.delivered_uj = 0
        self._raw_uj = _RANGE_UJ - 3_000_000
        self._show()
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._count)

    def _show(self) -> None:
        # One write of constant length: no reader sees half a number.
        os.pwrite(self._file, f"{self._raw_uj:020d}\n".encode(), 0)

    def _count(self) -> None:
        while not self._halt.wait(_STEP_S):
            self._raw_uj = (self._raw_uj + _STEP_UJ) % _RANGE_UJ
            self.delivered_uj += _STEP_UJ
            self._show()

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def stop(self) -> None:
        """Stand still from now on."""
        self._halt.set()
        self._thread.join()

    def close(self) -> None:
        """Stop and let go of the file."""
        if self._thread.is_alive():
            self.stop()
        os.close(self._file)


class Site:
    """A collector and an agent of this machine, each of which can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.counter = Counter(directory / "sys")
        ports = []
        for _ in range(2):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                ports.append(int(probe.getsockname()[1]))
        self._http, self._grpc = (f"127.0.0.1:{port}" for port in ports)
        self._environment = os.environ | {
            "JOULEBOOK_SERVER": f"http://{self._http}",
            "JOULEBOOK__AGENT__SOCKET": f"{directory}/agent.sock",
            "JOULEBOOK__AGENT__TICK_S": "0.05",
            "JOULEBOOK__AGENT__REPORT_S": "0.2",
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, program: str) -> None:
        """Start the agent or the collector."""
        arguments = {
            "collector": [f"--http={self._http}", f"--grpc={self._grpc}", f"--store={self.directory}/books"],
            "agent": [
                f"--collector={self._grpc}",
                f"--sysfs={self.directory}/sys",
                "--node=here",
            ],
        }
        command = [*JOULEBOOK, program, *arguments[program]]
        self.running[program] = subprocess.Popen(command, env=self._environment)

    def end(self, program: str, number: signal.Signals) -> int:
        """Send a program a signal and wait for its end."""
        process = self.running.pop(program)
        process.send_signal(number)
        return process.wait()

    def ask(self, path: str) -> Any:
        """Ask the collector's API."""
        with urlopen(f"http://{self._http}/api/v1/{path}") as answer:
            return json.load(answer)

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

    def run(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command as a job."""
        return subprocess.run(
            [*JOULEBOOK, "run", "--json", *command], env=self._environment, capture_output=True, check=True
        )
