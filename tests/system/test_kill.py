"""Real programs, a meter of known truth, kill -9 at both ends: the books hold what the meter delivered."""

import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.system.site import Site


def _cpu_uj(ledger: Any, account: str = "") -> int:
    return sum(a["by_domain"]["cpu"] for a in ledger["accounts"] if not account or a["account"] == account)


def _more_than(energy_uj: int) -> Callable[[Any], bool]:
    return lambda ledger: _cpu_uj(ledger) > energy_uj


def _exactly(energy_uj: int) -> Callable[[Any], bool]:
    return lambda ledger: _cpu_uj(ledger) == energy_uj


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
    site.until(_exactly(site.counter.delivered_uj))
    assert site.end("agent", signal.SIGTERM) == 0
    ledger = site.ask("ledger?from=-1h")
    assert ledger["residual_uj"] == 0
    assert _cpu_uj(ledger) == site.counter.delivered_uj
    assert all(a["energy_uj"] >= 0 for a in ledger["accounts"])


def test_a_second_agent_does_not_begin(site: Site) -> None:
    """Two agents would measure a node twice: the second one ends with 2, and the first goes on."""
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    first = site.running.pop("agent")
    site.start("agent")
    assert site.running.pop("agent").wait() == 2
    site.running["agent"] = first
    assert first.poll() is None


def test_a_busy_command_is_booked_apart_from_an_idle_one(site: Site) -> None:
    """A command that computes is booked by its CPU time, and one that sleeps is not charged for it."""
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    site.counter.start()
    script = "import time\nwhile time.process_time() < 0.4: pass"
    busy = json.loads(site.run("--name", "busy", "--", sys.executable, "-S", "-c", script).stdout)
    idle = json.loads(site.run("--name", "idle", "--", "sleep", "0.4").stdout)
    # 0.4 s of CPU time beside a few ms: whatever else runs, the order cannot turn.
    assert busy["active_uj"] > 2 * idle["active_uj"]
    assert busy["coverage"]["missing"] == 0
    site.counter.stop()
    site.until(_exactly(site.counter.delivered_uj))
    assert site.end("agent", signal.SIGTERM) == 0
    ledger = site.ask("ledger?from=-1h")
    booked = {a["account"]: a for a in ledger["accounts"]}
    assert booked[f"job:{busy['job']}"]["active_uj"] == busy["active_uj"]
    assert ledger["residual_uj"] == 0
    assert _cpu_uj(ledger) == site.counter.delivered_uj
