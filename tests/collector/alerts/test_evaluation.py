"""Alerts over a real store, from Reports as a collector books them, with the clock in hand."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.collector.alerts.alert import Alert, State
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.evaluation import Evaluation
from joulebook.collector.alerts.sqlite import SqliteAlerts
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.protocol import StoreError
from joulebook.collector.store.rows import NodeRow
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.simulated.delivery import EVER, decoded
from tests.simulated.node import WALL_US, Load, SimulatedNode

_S = 1_000_000
_UTILISATION = (m.METRIC_DEVICE_GPU_UTILISATION, "gpu.0")
_GPU = [("cpu.0", report_pb2.SOURCE_KIND_COUNTER), ("gpu.0", report_pb2.SOURCE_KIND_COUNTER)]
_JOB = Load("slurm.42", user="ada", gpus_held=("gpu.0",))
_CONFIG = AlertsConfig(gpu_held_idle_for_s=60, node_unallocated_for_s=60, audit_s=30)


class _Site:
    """A collector's books and alerts, and what time it is there."""

    def __init__(self, directory: Path, config: AlertsConfig = _CONFIG) -> None:
        self.directory = directory
        self.config = config
        self.now_us = WALL_US
        self.store = DuckDBStore(directory / "books.duckdb")
        self.told = 0
        self.begin()

    def begin(self) -> None:
        """Start the collector over what is on disk."""
        self.kept = SqliteAlerts(str(self.directory / "alerts.sqlite"))
        self.stats = IngestStats()
        self.evaluation = Evaluation(
            self.store, self.kept, self.config, self.stats, lambda: self.now_us, changed=self._changed
        )
        self.committer = Committer(self.store, self.stats, booked=self.evaluation.booked)

    def _changed(self) -> None:
        self.told += 1

    def run(self, *nodes: SimulatedNode, seconds: int, evaluate: bool = True) -> None:
        """Let time pass: nodes report every ten seconds, and then alerts are judged."""
        for _ in range(seconds // 10):
            self.now_us += 10 * _S
            for node in nodes:
                for _ in range(10):
                    node.tick()
                node.wall_us = self.now_us - node.now_us + 50 * _S
                self.stats.heard_us[node.name] = self.now_us
                self.committer.apply(decoded(node, [node.report()]))
            if evaluate:
                self.evaluation.evaluate()

    def alerts(self, state: State = State.FIRING) -> list[Alert]:
        return [alert for alert in self.evaluation.alerts() if alert.state is state]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[_Site]:
    site = _Site(tmp_path)
    yield site
    site.kept.close()
    site.store.close()


def _node(name: str = "n1") -> SimulatedNode:
    node = SimulatedNode(
        name=name,
        domains=_GPU,
        gpu_uj=60_000_000,
        gpu_idle_mw=60_000,
        gpu_limit_mw=700_000,
        also={_UTILISATION: 0},
    )
    node.begin([_JOB])
    return node


def test_idle_gpu_and_its_joules(site: _Site) -> None:
    """An idle held GPU fires with exactly the energy that its domain had since, and is resolved by use."""
    node = _node()
    site.run(node, seconds=50)
    assert site.alerts() == []
    site.run(node, seconds=30)
    (alert,) = site.alerts()
    assert (alert.rule, alert.labels) == (
        "gpu_held_idle",
        {"node": "n1", "gpu": "gpu.0", "job": "slurm.42", "user": "ada"},
    )
    assert (alert.since_us, alert.wasted_uj) == (WALL_US, 80 * 60_000_000)
    (booked,) = [row for row in site.store.accounts(EVER) if row.account == "job:slurm.42"]
    assert alert.wasted_uj == booked.active_uj[2] + booked.idle_uj[2]
    node.also = {_UTILISATION: 10_000}
    site.run(node, seconds=10)
    assert site.alerts() == []
    (alert,) = site.alerts(State.RESOLVED)
    # A utilisation moves within its first second; up to there it idled.
    assert alert.resolved_us == WALL_US + 80 * _S
    assert site.told == 2


def test_restart(site: _Site) -> None:
    """A collector that was killed goes on with the alerts as they were kept: same id, no second episode."""
    node = _node()
    site.run(node, seconds=80)
    (before,) = site.alerts()
    # What was booked after the last judgement is not counted, and nothing is counted twice.
    site.run(node, seconds=10, evaluate=False)
    site.kept.close()
    site.begin()
    assert site.alerts() == [before]
    site.run(node, seconds=20)
    (after,) = site.alerts()
    assert (after.id, after.firing_us) == (before.id, before.firing_us)
    assert after.wasted_uj == 100 * 60_000_000
    assert len(site.evaluation.alerts()) == 1


def test_repeated_reports_count_once(site: _Site) -> None:
    """A Report that comes again wastes nothing more."""
    node = _node()
    node.tick()
    report = node.report()
    for _ in range(3):
        site.committer.apply(decoded(node, [report]))
    site.evaluation.evaluate()
    (alert,) = site.alerts(State.PENDING)
    assert alert.wasted_uj == 60_000_000


def test_silent_agent(site: _Site) -> None:
    """A node that stops to report fires, one that speaks does not, and a word from it resolves it."""
    quiet, speaking = _node("quiet"), _node("speaking")
    for node in (quiet, speaking):
        node.begin([Load("unit.a", report_pb2.WORKLOAD_KIND_SYSTEM)])
    site.run(quiet, speaking, seconds=30)
    silent_us = site.now_us
    site.run(speaking, seconds=120)
    (alert,) = [a for a in site.alerts() if a.rule == "agent_silent"]
    assert (alert.labels, alert.since_us, alert.wasted_uj) == ({"node": "quiet"}, silent_us, None)
    site.run(quiet, speaking, seconds=10)
    assert [a.rule for a in site.alerts() if a.rule == "agent_silent"] == []


def test_collector_that_was_away(site: _Site) -> None:
    """After a collector's own absence no agent is taken for silent before it had the time to speak."""
    node = _node()
    site.run(node, seconds=30)
    site.kept.close()
    site.now_us += 3600 * _S
    site.begin()
    site.evaluation.evaluate()
    assert site.alerts() == []
    site.run(seconds=120)
    assert [a.rule for a in site.alerts()] == ["agent_silent"]


def test_node_that_is_gone(site: _Site) -> None:
    """A node that has been silent for days is taken for gone, and not told of again after a restart."""
    node = _node()
    site.run(node, seconds=30)
    site.run(seconds=130)
    assert [a.rule for a in site.alerts()] == ["agent_silent"]
    site.now_us += 8 * 86_400 * _S
    site.evaluation.evaluate()
    assert site.alerts() == []
    site.kept.close()
    site.begin()
    site.run(seconds=300)
    assert site.alerts() == []


def test_suspect_source(site: _Site) -> None:
    """A source that an agent says is suspect fires after its time, by what it last said, until it is well."""
    node = _node()

    def say(state: report_pb2.SourceState.ValueType) -> None:
        node.tick()
        report = node.report()
        report.sources.add(
            name="spool", state=state, reason="3 reports dropped", fix="bring a collector back"
        )
        site.now_us += _S
        site.committer.apply(decoded(node, [report]))

    say(report_pb2.SOURCE_STATE_SUSPECT)
    site.run(node, seconds=50)
    assert [a for a in site.alerts() if a.rule == "source_suspect"] == []
    site.run(node, seconds=20)
    (alert,) = [a for a in site.alerts() if a.rule == "source_suspect"]
    assert alert.labels == {"node": "n1", "source": "spool"}
    assert alert.evidence == {"reason": "3 reports dropped", "fix": "bring a collector back"}
    say(report_pb2.SOURCE_STATE_WORKING)
    site.run(node, seconds=10)
    assert [a for a in site.alerts() if a.rule == "source_suspect"] == []
    (alert,) = [a for a in site.alerts(State.RESOLVED) if a.rule == "source_suspect"]
    assert alert.resolution == "well again"


def test_books_that_do_not_balance(site: _Site) -> None:
    """One µJ that goes from the store is found by the next check, named by its node, and stays found."""
    good, bad = _node("good"), _node("bad")
    site.run(good, bad, seconds=120)
    assert [a for a in site.alerts() if a.rule == "residual_not_zero"] == []
    with site.store._connection.cursor() as cursor:
        cursor.execute(
            "UPDATE ledger SET gpu_idle_uj = gpu_idle_uj - 1 "
            "WHERE rowid = (SELECT max(l.rowid) FROM ledger l "
            "JOIN nodes USING (node_id) JOIN accounts USING (account_id) "
            "WHERE node = 'bad' AND account = 'job:slurm.42')"
        )
    site.run(good, bad, seconds=120)
    (alert,) = [a for a in site.alerts() if a.rule == "residual_not_zero"]
    assert alert.labels == {"node": "bad"}
    assert alert.evidence["residual_uj"] == 1
    site.kept.close()
    site.begin()
    site.run(good, bad, seconds=60)
    assert alert.id in [a.id for a in site.alerts()]
    # An hour later nobody asks about that time any more.
    site.now_us += 3600 * _S
    site.run(good, bad, seconds=100)
    assert alert.id not in [a.id for a in site.alerts()]


def test_store_that_is_away(
    site: _Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the store's answers other rules are judged all the same, and it is said once."""
    node = _node()
    site.run(node, seconds=30)

    def away() -> list[NodeRow]:
        raise StoreError("the store does not answer")

    monkeypatch.setattr(site.store, "nodes", away)
    site.now_us += 70 * _S
    with caplog.at_level(logging.ERROR):
        site.evaluation.evaluate()
        site.now_us += 70 * _S
        site.evaluation.evaluate()
    assert len([r for r in caplog.records if "silent agents cannot be judged" in r.message]) == 1
    monkeypatch.undo()
    site.evaluation.evaluate()
    assert [a.rule for a in site.alerts()] == ["agent_silent"]
