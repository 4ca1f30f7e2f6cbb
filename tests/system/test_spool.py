"""Real programs, no collector or two in turn: the meter's every joule is booked to its interval."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joulebook.agent.clock import boot_us
from joulebook.agent.spool import records
from joulebook.agent.spool.records import Kind, Record
from joulebook.v1 import report_pb2
from tests.servers.influxdb import influxdb
from tests.system.site import Site


def _cpu_uj(ledger: Any, account: str = "") -> int:
    return sum(a["by_domain"]["cpu"] for a in ledger["accounts"] if not account or a["account"] == account)


def _spooled(site: Site) -> list[report_pb2.Report]:
    """Return what is in the agent's spool, delivered or not."""
    found = [
        record
        for path in sorted((site.directory / "spool").glob("*.segment"))
        for record in records.scan(path.read_bytes())
        if isinstance(record, Record) and record.kind == Kind.REPORT
    ]
    return [report_pb2.Report.FromString(record.payload) for record in found]


def _wait_for_a_report(site: Site) -> None:
    """Wait until the agent has put a Report into its spool that began after this moment."""
    now_us = boot_us()
    while not any(report.sequence >= now_us for report in _spooled(site)):
        assert site.running["agent"].poll() is None
        time.sleep(0.02)


def _wait_until_booked(site: Site) -> Any:
    """Return the ledger once every joule is in its time: live Reports come before older ones."""
    delivered_uj = site.counter.delivered_uj
    return site.until(lambda told: (_cpu_uj(told), _cpu_uj(told, "unattributed")) == (delivered_uj, 0))


def test_an_agent_killed_again_and_again_without_a_collector_loses_nothing(site: Site) -> None:
    """Without a collector the agent is killed three times; then all is booked to its time, nothing twice."""
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    site.counter.start()
    site.end("collector", signal.SIGKILL)
    for _ in range(3):
        before_uj = site.counter.delivered_uj
        while site.counter.delivered_uj < before_uj + 3_000_000:
            time.sleep(0.01)
        # The meter stands still while nobody watches, so that nothing may be unattributed.
        with site.counter.paused():
            _wait_for_a_report(site)
            site.end("agent", signal.SIGKILL)
            site.start("agent")
            _wait_for_a_report(site)
    site.counter.stop()
    site.start("collector")
    _wait_until_booked(site)
    assert site.end("agent", signal.SIGTERM) == 0
    ledger = site.ask("ledger?from=-1h")
    assert ledger["residual_uj"] == 0
    assert _cpu_uj(ledger) == site.counter.delivered_uj > 9_000_000
    assert _cpu_uj(ledger, "unattributed") == 0
    # Nothing is left to send.
    (node,) = site.ask("nodes")["nodes"]
    assert {s["name"]: s["state"] for s in node["sources"]}["spool"] == "working"


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Site]:
    """Start an agent, and two collectors on one InfluxDB."""
    with influxdb(tmp_path / "influxdb") as server:
        site = Site(tmp_path, server.fresh())
        for program in ("collector", "collector2", "agent"):
            site.start(program)
        yield site
        for program in list(site.running):
            site.end(program, signal.SIGKILL)
        site.counter.close()


def test_collectors_die_in_turn(shared: Site) -> None:
    """Of two collectors on one store each is killed in mid-stream: every joule is booked once, in time."""
    site = shared
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    site.counter.start()
    ledger = site.until(lambda ledger: _cpu_uj(ledger) > 1_000_000)
    for dead in ("collector", "collector2"):
        site.end(dead, signal.SIGKILL)
        goal_uj = _cpu_uj(ledger) + 3_000_000
        ledger = site.until(lambda ledger, goal=goal_uj: _cpu_uj(ledger) > goal)  # type: ignore[misc]
        assert ledger["residual_uj"] == 0
        site.start(dead)
    site.counter.stop()
    ledger = _wait_until_booked(site)
    assert site.end("agent", signal.SIGTERM) == 0
    assert ledger["residual_uj"] == 0
    assert _cpu_uj(ledger, "unattributed") == 0
