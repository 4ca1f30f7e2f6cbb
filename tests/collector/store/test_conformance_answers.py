"""Every store answers alike: what the API answers from is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.evaluation import Evaluation
from joulebook.collector.alerts.sqlite import SqliteAlerts
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.queries.alerts import list_alerts
from joulebook.collector.queries.jobs import get_job, list_jobs
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.queries.nodes import get_node, list_nodes
from joulebook.collector.queries.power import get_power
from joulebook.collector.queries.series import get_series
from joulebook.collector.store.protocol import Store
from tests.simulated.cluster import JOB, Cluster
from tests.simulated.delivery import EVER
from tests.simulated.node import WALL_US


def _pages(store: Store) -> list[list[Any]]:
    """Return all jobs, one a page."""
    found = [list_jobs(store, limit=1)]
    while cursor := found[-1].next_cursor:
        found.append(list_jobs(store, limit=1, cursor=cursor))
    return [list(page.items) for page in found]


def _alerts(store: Store, now_us: int) -> Any:
    """Return what a collector alerts of that begins on this store, and hears nothing for some minutes.

    All that it can know is what the store says: who was there, and whether the books balance.
    """
    clock = [now_us]
    kept = SqliteAlerts(":memory:")
    evaluation = Evaluation(store, kept, AlertsConfig(audit_s=60.0), IngestStats(), lambda: clock[0])
    for _ in range(4):
        clock[0] += 100_000_000
        evaluation.evaluate()
    kept.close()
    return list_alerts(evaluation, limit=10)


QUESTIONS: dict[str, Callable[[Store, int], Any]] = {
    "ledger": lambda s, now: get_ledger(s, node=None, from_us=0, to_us=now),
    "ledger of a node": lambda s, now: get_ledger(s, node="n1", from_us=now - 15_000_000, to_us=now),
    "jobs": lambda s, _: list_jobs(s, limit=10),
    "jobs of a node": lambda s, _: list_jobs(s, node="n2", limit=10),
    "jobs of a user": lambda s, _: list_jobs(s, user="bob", limit=10),
    "jobs of an account": lambda s, _: list_jobs(s, account="chem", limit=10),
    "jobs that run": lambda s, _: list_jobs(s, state="running", limit=10),
    "jobs that ended": lambda s, _: list_jobs(s, state="ended", limit=10),
    "jobs by pages": lambda s, _: _pages(s),
    "power": lambda s, now: get_power(s, node=None, from_us=WALL_US, to_us=now, step_us=7_000_000, limit=10),
    "power of a node, the rest together": lambda s, now: get_power(
        s, node="n1", from_us=now - 25_000_001, to_us=now, step_us=None, limit=1
    ),
    "alerts": _alerts,
    "job": lambda s, _: get_job(s, JOB),
    "nodes": lambda s, now: list_nodes(s, limit=10, cursor=None, now_us=now),
    "node": lambda s, now: get_node(s, "n2", now_us=now),
    "series": lambda s, now: get_series(
        s,
        metric="energy_uj",
        node=None,
        subject=None,
        from_us=WALL_US,
        to_us=now,
        step_us=7_000_000,
        limit=10,
        cursor=None,
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions(store: Store, truth: Cluster, question: str) -> None:
    """What the API answers from is the same, value by value."""
    assert QUESTIONS[question](store, truth.now_us) == QUESTIONS[question](truth.store, truth.now_us)


def test_questions_have_answers(truth: Cluster) -> None:
    """What the kinds are compared by is there: filters let one job of two through, and alerts fire."""
    told = {question: ask(truth.store, truth.now_us) for question, ask in QUESTIONS.items()}
    for which in ("of a node", "of a user", "that run", "that ended"):
        assert len(told[f"jobs {which}"].items) == 1
    assert [len(page) for page in told["jobs by pages"]] == [1, 1]
    assert any(told["power of a node, the rest together"].rest_uj)
    assert {(one.rule, one.labels["node"], one.state) for one in told["alerts"].items} == {
        ("agent_silent", "n1", "firing"),
        ("agent_silent", "n2", "firing"),
    }


def test_books_balance(store: Store, truth: Cluster) -> None:
    """Nothing is left over: the accounts received what the meters delivered."""
    ledger = get_ledger(store, node=None, from_us=0, to_us=EVER.to_us)
    assert (ledger.measured_uj, ledger.residual_uj) == (truth.measured_uj, 0)
