"""Settlement moves energy between accounts, and between nothing else."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.settlement import causes_of, settled_books
from joulebook.collector.ledger.stack import Readings
from joulebook.v1 import report_pb2
from tests.accuracy.mix import draw
from tests.accuracy.physics import simulate
from tests.accuracy.reports import readings
from tests.accuracy.scenario import Gpus, Scenario, Watch
from tests.accuracy.telemetry import watch
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode


def _by_report(books: Books, reports: int) -> np.ndarray:
    """Return what was booked in each Report by class, active and idle, (2, reports, classes)."""
    totals = np.zeros((2, reports, len(CLASSES)), dtype=np.int64)
    np.add.at(totals[0], books.report, books.active_uj)
    np.add.at(totals[1], books.report, books.idle_uj)
    return totals


def _sent(seed: int, *, cpusets: bool, how: Literal["shared", "divided"] = "shared") -> list[Readings]:
    gpus = Gpus(count=1, how=how, held=(1, 3))
    scenario = Scenario(name="settled", help="", duration_s=300, gpus=gpus, watch=Watch(cpusets=cpusets))
    mix = draw(scenario, seed)
    run = simulate(scenario, mix, seed)
    return readings(scenario, mix, run, watch(scenario, mix, run, seed), seed)


@pytest.mark.parametrize(("cpusets", "how"), [(True, "shared"), (False, "divided")])
@pytest.mark.parametrize("seed", range(3))
def test_every_report_keeps_what_it_had(seed: int, cpusets: bool, how: Literal["shared", "divided"]) -> None:
    """Of every Report and class, active and idle, the sum over accounts stays, to the microjoule."""
    sent = _sent(seed, cpusets=cpusets, how=how)
    live, settled = book(sent), settled_books(sent)
    np.testing.assert_array_equal(_by_report(live, len(sent)), _by_report(settled, len(sent)))
    assert not settled.residual_uj.any()
    assert settled.active_uj.min() >= 0
    np.testing.assert_array_equal(
        [live.idle_uj.sum(), live.measured_uj.sum()], [settled.idle_uj.sum(), settled.measured_uj.sum()]
    )
    assert (live.active_uj.sum(axis=1) != 0).any()


def test_settling_again_changes_nothing() -> None:
    """The same Reports give the same rows, bit for bit."""
    sent = _sent(5, cpusets=True)
    first, again = settled_books(sent), settled_books(sent)
    assert first.account == again.account
    for name in ("report", "active_uj", "idle_uj", "systematic_uj", "variance_uj2"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


@settings(max_examples=30)
@given(
    shape=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12), st.integers(0, 2_000_000)), max_size=8)
)
def test_any_reports_balance(shape: list[tuple[int, int, int]]) -> None:
    """Whatever workloads come and go, however short Reports are, settled books balance like live ones."""
    node = SimulatedNode()
    reports = []
    for jobs, ticks, cpu_us in shape:
        node.begin(
            [Load(f"slurm.{i}", cpu_us=cpu_us // (i + 1)) for i in range(jobs)]
            + [Load("unit.cron.service", report_pb2.WORKLOAD_KIND_SYSTEM, cpu_us=1000)]
        )
        for _ in range(ticks):
            node.tick()
        reports.append(node.report())
    sent = [d.readings for d in decoded(node, reports)]
    live, settled = book(sent), settled_books(sent)
    np.testing.assert_array_equal(_by_report(live, len(sent)), _by_report(settled, len(sent)))
    assert not settled.residual_uj.any()


def test_nothing_is_settled_of_nothing() -> None:
    """No Reports have no causes."""
    assert causes_of([]) == []
    assert settled_books([]).account == []
