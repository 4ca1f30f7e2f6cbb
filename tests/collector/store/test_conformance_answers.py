"""Every store answers alike: what the API answers from is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from joulebook.collector.queries.jobs import get_job, list_jobs
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.queries.nodes import get_node, list_nodes
from joulebook.collector.queries.series import get_series
from joulebook.collector.store.protocol import Store
from tests.simulated.cluster import JOB, Cluster
from tests.simulated.delivery import EVER
from tests.simulated.node import WALL_US

QUESTIONS: dict[str, Callable[[Store, int], Any]] = {
    "ledger": lambda s, now: get_ledger(s, node=None, from_us=0, to_us=now),
    "ledger of a node": lambda s, now: get_ledger(s, node="n1", from_us=now - 15_000_000, to_us=now),
    "jobs": lambda s, _: list_jobs(s, limit=10),
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


def test_books_balance(store: Store, truth: Cluster) -> None:
    """Nothing is left over: the accounts received what the meters delivered."""
    ledger = get_ledger(store, node=None, from_us=0, to_us=EVER.to_us)
    assert (ledger.measured_uj, ledger.residual_uj) == (truth.measured_uj, 0)
