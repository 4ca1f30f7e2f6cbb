"""What a spool drops at its bound is in the books as nobody's, and somebody is told."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from joulebook.agent.outbox import Entry
from joulebook.agent.spool.keeper import Bounds
from joulebook.agent.spool.spool import Spool
from joulebook.agent.uplink import Uplink
from joulebook.collector.alerts.config import AlertsConfig
from tests.simulated.collector import LiveCollector
from tests.simulated.node import BOOT, Load, SimulatedNode

_PATIENCE_S = 300.0


class _Agent:
    """A node's meters, its spool, and the way to its collector."""

    def __init__(self, directory: Path) -> None:
        self.node = SimulatedNode()
        self.spool = Spool(
            directory, boot=BOOT, bounds=Bounds(max_bytes=8 * 3000), clock=lambda: self.node.now_us
        )
        # Of each Report: where on the boot clock it begins, and what was measured up to its end.
        self.measured: list[tuple[int, int]] = []

    def report(self, number: int, ticks: int = 1) -> None:
        """Put the next Report into the spool, with what the spool says of itself, as the agent does."""
        # Each has a layout of its own, so that few can be joined and the bound drops some at last.
        self.node.begin([Load(f"slurm.{number}", cpu_us=1_000_000, memory_bytes=1 << 30)])
        for _ in range(ticks):
            self.node.tick()
        report = self.node.report()
        for found in self.spool.findings():
            report.sources.add(name=found.name, state=found.state, reason=found.reason, fix=found.fix)
        self.measured.append((report.sequence, self.node.measured_uj))
        self.spool.put(Entry(report, self.node.layouts[report.layout_hash]))

    def send(self, grpc: str) -> None:
        """Send what is in the spool."""
        host, port = grpc.split(":")
        uplink = Uplink([(host, int(port))], self.spool)
        uplink.start()
        uplink.stop(_PATIENCE_S)
        assert len(self.spool) == 0


def _asked(http: str, question: str) -> Any:
    with urlopen(f"http://{http}/api/v1/{question}") as answer:
        return json.load(answer)


def test_what_was_dropped_is_unattributed_and_alarmed(tmp_path: Path) -> None:
    """What the dropped Reports had is unattributed, to the µJ, and source_suspect fires and says how many."""
    agent = _Agent(tmp_path / "spool")
    alerts = AlertsConfig(file=":memory:", evaluate_s=0.05, source_suspect_for_s=0.0, agent_silent_for_s=1e6)
    with LiveCollector(tmp_path / "books.duckdb", alerts) as collector:
        at = collector.addresses
        agent.report(0)
        agent.send(at.grpc)
        # Nobody sends for so long that the bound is reached.
        number = 0
        while agent.spool.counts.dropped < 20:
            number += 1
            agent.report(number)
            agent.spool.keeper.keep_bounds()
        # The spool tells figures that merely move every minute.
        agent.report(number + 1, ticks=60)
        waiting = agent.spool.next_kept()
        assert waiting is not None
        agent.spool.rewind()
        places = [sequence for sequence, _ in agent.measured]
        dropped_uj = agent.measured[places.index(waiting.report.sequence) - 1][1] - agent.measured[0][1]
        assert dropped_uj > 0
        agent.send(at.grpc)
        ledger = _asked(at.http, "ledger?from=0")
        account = next(one for one in ledger["accounts"] if one["account"] == "unattributed")
        assert account["energy_uj"] == dropped_uj
        assert (ledger["measured_uj"], ledger["residual_uj"]) == (agent.node.measured_uj, 0)
        deadline_s = time.monotonic() + _PATIENCE_S
        while not (found := _asked(at.http, "alerts?rule=source_suspect")["alerts"]):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        (alert,) = found
        assert (alert["state"], alert["labels"]) == ("firing", {"node": "n1", "source": "spool"})
        assert f"{agent.spool.counts.dropped} reports dropped" in alert["evidence"]["reason"]
        assert "raise agent.spool_max_bytes" in alert["evidence"]["fix"]
        (node,) = _asked(at.http, "nodes")["nodes"]
        assert {one["name"]: one["state"] for one in node["sources"]}["spool"] == "suspect"
    agent.spool.close()
