"""Settlement moves energy between accounts, and between nothing else."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.settlement import causes_of, settled_books
from joulebook.v1 import report_pb2
from tests.accuracy.mix import STEPS_PER_S, draw
from tests.accuracy.physics import simulate
from tests.accuracy.reports import reports
from tests.accuracy.scenario import Gpus, Jobs, Machine, Scenario, Watch
from tests.accuracy.telemetry import job_id, watch
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode


def _by_report(books: Books, reports: int) -> np.ndarray:
    """Return what was booked in each Report by class, (reports, classes)."""
    totals = np.zeros((reports, len(CLASSES)), dtype=np.int64)
    np.add.at(totals, books.report, books.active_uj + books.idle_uj)
    return totals


def _sent(seed: int, *, cpusets: bool, how: Literal["shared", "divided"] = "shared") -> list[Decoded]:
    gpus = Gpus(count=1, how=how, held=(1, 3))
    scenario = Scenario(name="settled", help="", duration_s=300, gpus=gpus, watch=Watch(cpusets=cpusets))
    mix = draw(scenario, seed)
    run = simulate(scenario, mix, seed)
    return reports(scenario, mix, run, watch(scenario, mix, run, seed), seed)


def _live(sent: list[Decoded]) -> Books:
    return book([one.readings for one in sent])


def _settled(sent: list[Decoded]) -> Books:
    return settled_books([one.readings for one in sent], [one.start for one in sent])


@pytest.mark.parametrize(("cpusets", "how"), [(True, "shared"), (False, "divided")])
@pytest.mark.parametrize("seed", range(3))
def test_every_report_keeps_what_it_had(seed: int, cpusets: bool, how: Literal["shared", "divided"]) -> None:
    """Of every Report and class the sum over accounts stays, to the microjoule; no figure is negative."""
    sent = _sent(seed, cpusets=cpusets, how=how)
    live, settled = _live(sent), _settled(sent)
    np.testing.assert_array_equal(_by_report(live, len(sent)), _by_report(settled, len(sent)))
    assert not settled.residual_uj.any()
    assert min(settled.active_uj.min(), settled.idle_uj.min()) >= 0
    assert live.measured_uj.sum() == settled.measured_uj.sum()
    assert (live.active_uj.sum(axis=1) != 0).any()


def test_settling_again_changes_nothing() -> None:
    """The same Reports give the same rows, bit for bit."""
    sent = _sent(5, cpusets=True)
    first, again = _settled(sent), _settled(sent)
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
    cut = []
    for jobs, ticks, cpu_us in shape:
        node.begin(
            [Load(f"slurm.{i}", cpu_us=cpu_us // (i + 1)) for i in range(jobs)]
            + [Load("unit.cron.service", report_pb2.WORKLOAD_KIND_SYSTEM, cpu_us=1000)]
        )
        for _ in range(ticks):
            node.tick()
        cut.append(node.report())
    sent = decoded(node, cut)
    live, settled = _live(sent), _settled(sent)
    np.testing.assert_array_equal(_by_report(live, len(sent)), _by_report(settled, len(sent)))
    assert not settled.residual_uj.any()


def test_nothing_is_settled_of_nothing() -> None:
    """No Reports have no causes."""
    assert causes_of([]) == []
    assert settled_books([], []).account == []


@pytest.mark.parametrize("seed", range(3))
def test_who_holds_a_gpu_and_rests_tells_nothing_of_who_works_there(seed: int) -> None:
    """While all rest, the holders' shares of a GPU are no use of it: who works there pays what he caused.

    One job holds the GPU and never uses it, two take turns on it with pauses in which all rest.
    """
    gpus = Gpus(count=1, how="shared", idle=0.34, busy=(0.2, 0.5), works=(0.2, 0.4), step_s=(4.0, 8.0))
    jobs = Jobs(count=(6, 6))
    scenario = Scenario(
        name="resting", help="", duration_s=900, gpus=gpus, jobs=jobs, machine=Machine(miscalibration=0.0)
    )
    mix = draw(scenario, seed)
    run = simulate(scenario, mix, seed)
    assert 0 < run.gpus.works.sum() < 6
    settled = _settled(reports(scenario, mix, run, watch(scenario, mix, run, seed), seed))
    account = np.array(settled.account)
    caused_j = run.gpus.caused_w[0].sum(axis=0) / STEPS_PER_S
    for job in np.flatnonzero(run.gpus.works).tolist():
        booked_uj = settled.active_uj[account == f"job:{job_id(job)}"][:, CLASSES.index("gpu")].sum()
        assert booked_uj / 1e6 == pytest.approx(caused_j[job], rel=0.08)
