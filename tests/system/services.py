"""Both programs as services of a machine, beside a counter of known truth."""

import json
import time
from collections.abc import Callable
from typing import Any

from tests.simulated.counter import Counter
from tests.simulated.machine import Machine

LEDGER = "ledger?from=-1h&node=here"
AGENT, COLLECTOR = "joulebook-agent", "joulebook-collector"
WATCHDOG = "[Service]\nWatchdogSec=15\n"
_ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
_PATIENCE_S = 300.0


class Node:
    """The machine with a RAPL counter of known truth that only root may read, and impatient watchdogs."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.counter = Counter(machine.tree / "srv/sys")
        file = machine.tree / "srv/sys/class/powercap/intel-rapl:0/energy_uj"
        file.chmod(0o400)
        config = machine.tree / "etc/joulebook/joulebook.toml"
        config.write_text('[agent]\nnode = "here"\nsysfs = "/srv/sys"\ntick_s = 0.1\nreport_s = 0.2\n')
        for unit in (AGENT, COLLECTOR):
            self.change(unit, WATCHDOG)

    def change(self, unit: str, lines: str) -> None:
        """Add to a unit as an administrator does, and restart it."""
        self.machine.run(
            "sh",
            "-c",
            f'mkdir -p /etc/systemd/system/{unit}.service.d && printf "%s" "$1" '
            f">/etc/systemd/system/{unit}.service.d/test.conf && systemctl daemon-reload",
            "sh",
            lines,
        )
        self.machine.run("systemctl", "restart", unit)

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.machine.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def ask(self, path: str) -> Any:
        """Ask the collector's API; None while nobody answers."""
        asked = self.machine.run(
            "/usr/bin/python3", "-c", _ASK, f"http://127.0.0.1:8460/api/v1/{path}", check=False
        )
        return json.loads(asked.stdout) if asked.returncode == 0 else None

    def until(self, holds: Callable[[Any], bool]) -> Any:
        """Ask for the ledger until it is as it should be."""
        deadline_s = time.monotonic() + _PATIENCE_S
        found = None
        while time.monotonic() < deadline_s:
            if (found := self.ask(LEDGER)) and holds(found):
                return found
            time.sleep(0.1)
        log = self.machine.run("journalctl", "--no-pager", "-n", "60", "-u", "joulebook-*").stdout
        raise AssertionError(f"{found}\n{log}")

    def wait_for_restart(self, unit: str, before: int) -> None:
        """Wait until systemd started a unit anew, and it was ready."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while int(self.show(unit, "NRestarts")) == before or self.show(unit, "ActiveState") != "active":
            assert time.monotonic() < deadline_s, self.machine.run("systemctl", "status", unit).stdout
            time.sleep(0.1)
