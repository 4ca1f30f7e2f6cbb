"""Real programs, a meter of known truth, kill -9 at both ends: the books hold what the meter delivered."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.simulated.counter import Counter

JOULEBOOK = [sys.executable, "-m", "joulebook.cli.main"]


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
        while True:
            with suppress(URLError, ConnectionError):
                if holds(found := self.ask(path)):
                    return found
            for process in self.running.values():
                assert process.poll() is None
            time.sleep(0.02)

    def run(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command as a job."""
        return subprocess.run(
            [*JOULEBOOK, "run", "--json", *command], env=self._environment, capture_output=True, check=True
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Start a collector and an agent; end them whatever the test does."""
    site = Site(tmp_path)
    site.start("collector")
    site.start("agent")
    yield site
    for program in list(site.running):
        site.end(program, signal.SIGKILL)
    site.counter.close()


def _cpu_uj(ledger: Any, account: str = "") -> int:
    return sum(a["by_domain"]["cpu"] for a in ledger["accounts"] if not account or a["account"] == account)


def _more_than(energy_uj: int) -> Callable[[Any], bool]:
    return lambda ledger: _cpu_uj(ledger) > energy_uj


def test_kills_lose_nothing_and_count_nothing_twice(site: Site) -> None:
    """Both programs are killed and started again; every µJ that the counter gave is booked once."""
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    site.counter.start()
    ledger = site.until(_more_than(2_000_000))
    for _ in range(2):
        site.end("collector", signal.SIGKILL)
        site.start("collector")
        ledger = site.until(_more_than(_cpu_uj(ledger) + 2_000_000))
        assert ledger["residual_uj"] == 0
    # While the agent is down the counter runs on: nobody watches, so nobody is charged.
    before_uj = _cpu_uj(ledger, "unattributed")
    site.end("agent", signal.SIGKILL)
    down_at_uj = site.counter.delivered_uj
    while site.counter.delivered_uj < down_at_uj + 3_000_000:
        time.sleep(0.01)
    site.start("agent")
    ledger = site.until(_more_than(site.counter.delivered_uj))
    assert _cpu_uj(ledger, "unattributed") - before_uj > 3_000_000
    site.counter.stop()
    # The last readings are on their way when the agent is told to stop; it hands them over first.
    assert site.end("agent", signal.SIGTERM) == 0
    ledger = site.ask("ledger?from=-1h")
    assert ledger["residual_uj"] == 0
    assert _cpu_uj(ledger) == site.counter.delivered_uj
    assert all(a["energy_uj"] >= 0 for a in ledger["accounts"])


def test_a_busy_command_is_booked_apart_from_an_idle_one(site: Site) -> None:
    """A command that computes is booked by its CPU time, and one that sleeps is not charged for it."""
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    site.counter.start()
    script = "import time\nwhile time.process_time() < 0.4: pass"
    busy = json.loads(site.run("--name", "busy", "--", sys.executable, "-S", "-c", script).stdout)
    idle = json.loads(site.run("--name", "idle", "--", "sleep", "0.4").stdout)
    assert busy["active_uj"] > 5 * max(idle["active_uj"], 1)
    assert busy["coverage"]["missing"] == 0
    site.counter.stop()
    assert site.end("agent", signal.SIGTERM) == 0
    ledger = site.ask("ledger?from=-1h")
    booked = {a["account"]: a for a in ledger["accounts"]}
    assert booked[f"job:{busy['job']}"]["active_uj"] == busy["active_uj"]
    assert ledger["residual_uj"] == 0
    assert _cpu_uj(ledger) == site.counter.delivered_uj
