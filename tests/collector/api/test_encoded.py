"""What goes out over HTTP is what the models say, as pydantic itself would have written it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from joulebook.collector.api import alert_models, models
from joulebook.collector.api.encoded import encoded
from joulebook.collector.queries.alerts import list_alerts, list_rules
from joulebook.collector.queries.figures import ByDomain, ByTier
from joulebook.collector.queries.jobs import get_job, list_jobs
from joulebook.collector.queries.ledger import LedgerAccount, get_ledger
from joulebook.collector.queries.nodes import get_node, list_nodes
from joulebook.collector.queries.power import get_power
from joulebook.collector.queries.series import get_series
from joulebook.collector.store.duckdb import DuckDBStore
from tests.simulated.alerts import MadeUpBook
from tests.simulated.cluster import ENDED_JOB, JOB, Cluster

_DAY_US = 86_400_000_000
Question = Callable[[DuckDBStore, MadeUpBook, int], Any]
_QUESTIONS: list[tuple[type[BaseModel], Question]] = [
    (models.NodePage, lambda s, _, now: list_nodes(s, limit=1, cursor=None, now_us=now)),
    (models.Node, lambda s, _, now: get_node(s, "n2", now_us=now)),
    (models.Node, lambda s, _, now: get_node(s, "n1", now_us=now + _DAY_US)),
    (models.JobPage, lambda s, _, _now: list_jobs(s, limit=10)),
    (models.Job, lambda s, _, _now: get_job(s, JOB)),
    (models.Job, lambda s, _, _now: get_job(s, ENDED_JOB)),
    (
        models.Power,
        lambda s, _, now: get_power(
            s, node=None, from_us=now - 40_000_000, to_us=now, step_us=3_000_000, limit=1
        ),
    ),
    (models.Ledger, lambda s, _, now: get_ledger(s, node="n1", from_us=0, to_us=now)),
    (models.Ledger, lambda s, _, now: get_ledger(s, node=None, from_us=0, to_us=now, limit=1)),
    (
        models.SeriesSet,
        lambda s, _, now: get_series(
            s,
            metric="idle_power_mw",
            node=None,
            subject=None,
            from_us=now - 60_000_000,
            to_us=now,
            step_us=7_000_000,
            limit=1,
            cursor=None,
        ),
    ),
    (alert_models.AlertPage, lambda _, a, _now: list_alerts(a, limit=2)),
    (alert_models.RulePage, lambda _, a, _now: list_rules(a, limit=100)),
]


@pytest.mark.parametrize(
    ("model", "question"), _QUESTIONS, ids=[f"{i} {m.__name__}" for i, (m, _) in enumerate(_QUESTIONS)]
)
def test_answers_are_as_their_models_say(
    books: Cluster, alerts: MadeUpBook, model: type[BaseModel], question: Question
) -> None:
    """Names, order, times and numbers of an answer are those of its model, checked by the model itself."""
    store = DuckDBStore(books.path)
    answer = question(store, alerts, books.now_us)
    store.close()
    kind = TypeAdapter(model)
    checked = kind.validate_python(answer, from_attributes=True)
    written = json.loads(kind.dump_json(checked, by_alias=True))
    found = json.loads(encoded(model, answer))
    assert found == written
    # Equal JSON of another order would show, and so would a whole number that became a fraction.
    assert json.dumps(found) == json.dumps(written)


def test_whole_numbers_of_any_size_go_out_whole() -> None:
    """A sum beyond 64 bits is written with all of its digits."""
    sums = LedgerAccount("idle", 1 << 70, 1 << 69, 1 << 69, ByDomain(cpu=1 << 70), ByTier(), -(1 << 65))
    found = json.loads(encoded(models.LedgerAccount, sums))
    assert (found["energy_uj"], found["plus_minus_uj"]) == (1 << 70, -(1 << 65))
    assert found["by_domain"] == {"cpu": 1 << 70} | dict.fromkeys(
        ("memory", "gpu", "storage", "network", "platform"), 0
    )
