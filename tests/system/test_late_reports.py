"""A node that was cut off while its job ended elsewhere: what it spooled changes a figure that was final."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from joulebook.agent.outbox import Entry
from joulebook.agent.spool.spool import Spool
from joulebook.agent.uplink import Uplink
from joulebook.cli.main import main
from joulebook.v1 import report_pb2
from tests.servers.influxdb import influxdb
from tests.simulated.collector import LiveCollector
from tests.simulated.node import Load, SimulatedNode

JOB = "slurm.7"
_PATIENCE_S = 300.0


class _Agent:
    """A node with a real spool, and a real uplink while it is not cut off."""

    def __init__(self, directory: Path, name: str) -> None:
        # Too young to be settled: that would change figures, too.
        began_us = (time.time_ns() // 1000) - 600_000_000
        self.node = SimulatedNode(name=name, boot=name.encode().ljust(16), wall_us=began_us)
        self._directory = directory / name
        self.sent: list[Entry] = []

    def measure(self, loads: list[Load], reports: int, *, ends: bool = False) -> None:
        """Have some Reports of these loads; in the last of them the job ends."""
        self.node.begin(loads)
        for number in range(reports):
            self.node.tick()
            report = self.node.report()
            if ends and number == reports - 1:
                report.ended.add(workload_id=JOB, end_unix_us=self._unix_us(report), exit_status=0)
            self.sent.append(Entry(report, self.node.layouts[report.layout_hash]))

    def _unix_us(self, report: report_pb2.Report) -> int:
        return report.realtime_offset_us + report.sequence + sum(report.interval_us)

    def deliver(self, port: int, entries: list[Entry]) -> None:
        """Spool Reports, then connect until all are acknowledged."""
        spool = Spool(self._directory)
        for entry in entries:
            spool.put(entry)
        uplink = Uplink([("127.0.0.1", port)], spool)
        uplink.start()
        uplink.stop(_PATIENCE_S)
        assert len(spool) == 0
        spool.close()


def _job(collector: LiveCollector) -> dict[str, Any]:
    with urlopen(f"http://{collector.addresses.http}/api/v1/jobs/{JOB}") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.mark.parametrize("kind", ["duckdb", "influxdb"])
def test_a_node_that_was_cut_off_revises_the_job(tmp_path: Path, kind: str) -> None:
    """The job ends and is quoted, then gets what the other node spooled: once, and for ever revised."""
    if kind == "influxdb":
        with influxdb(tmp_path / "influxdb") as server:
            _cut_off(tmp_path, server.fresh())
    else:
        _cut_off(tmp_path, str(tmp_path / "books.duckdb"))


def _cut_off(directory: Path, store: str) -> None:
    near, far = _Agent(directory, "near"), _Agent(directory, "far")
    job, other = Load(JOB, cpu_us=1_000_000), Load("slurm.8", cpu_us=500_000)
    near.measure([job], 3, ends=True)
    near.measure([other], 2)
    far.measure([job, other], 20, ends=True)
    far.measure([other], 5)
    with LiveCollector(store) as collector:
        port = int(collector.addresses.grpc.rpartition(":")[2])
        near.deliver(port, near.sent)
        quoted = _job(collector)
        assert (quoted["state"], quoted["nodes"]) == ("ended", ["near"])
        assert (quoted["revision"], quoted["revised"]) == (1, None)
        far.deliver(port, far.sent)
        revised = _job(collector)
        assert (revised["state"], revised["nodes"]) == ("ended", ["far", "near"])
        # All Reports in one commit are as many revisions; one by one, the job runs again after the first.
        assert 2 <= revised["revision"] <= 21
        assert revised["energy_uj"] > quoted["energy_uj"]
        assert revised["revised"] is not None
        shown = CliRunner().invoke(main, ["job", JOB, "--server", f"http://{collector.addresses.http}"])
        assert f"revision {revised['revision']} since {revised['revised']}" in shown.stdout
        # An agent that lost its marks sends all anew.
        far.deliver(port, far.sent)
        near.deliver(port, near.sent)
        assert _job(collector) == revised
    with LiveCollector(store) as collector:
        assert _job(collector) == revised
        far.deliver(int(collector.addresses.grpc.rpartition(":")[2]), far.sent)
        assert _job(collector) == revised
