"""The proof's own proof: physics conserve, books balance, and what is known exactly comes out exactly."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.accuracy.mix import draw
from tests.accuracy.physics import simulate
from tests.accuracy.scenario import Jobs, Machine, Scenario, Watch, load
from tests.accuracy.score import score

_QUIET = Machine(noise=0.0, miscalibration=0.0)


@pytest.mark.parametrize("seed", range(5))
def test_what_everybody_caused_is_what_the_machine_drew(seed: int) -> None:
    """Aumann–Shapley shares add up to the power drawn beyond idle in every step, and none is negative."""
    scenario = Scenario(name="any", help="", duration_s=300, jobs=Jobs(length_s=(60, 200)), machine=_QUIET)
    mix = draw(scenario, seed)
    run = simulate(scenario.machine, mix, seed)
    active_w = run.package_w.sum(axis=0) - _QUIET.packages * _QUIET.package_idle_w
    np.testing.assert_allclose(run.cpu_caused_w.sum(axis=1), active_w, rtol=1e-9)
    assert run.cpu_caused_w.min() >= 0


def test_a_job_alone_costs_what_the_machine_drew() -> None:
    """With one job, one package and a quiet meter the books are the truth but for the daemon."""
    alone = Scenario(
        name="alone",
        help="",
        duration_s=300,
        machine=msgspec.structs.replace(_QUIET, packages=1, droop=1.0, smt_yield=1.0),
        jobs=Jobs(
            count=(1, 1),
            length_s=(100, 200),
            cpus=(24, 24),
            busy=(1.0, 1.0),
            intensity=(1.0, 1.0),
            phase_depth=0.0,
        ),
        watch=Watch(edges=True),
    )
    # The daemon never stops, so what it draws is part of the idle floor: 0.8 of 68 W.
    for seed in range(5):
        assert score(alone, seed).live["active cpu"].max() < 0.02


def test_the_oracle_misses_what_meters_miss() -> None:
    """With quiet, exact meters and no daemon's doing, who knows everything is right to a per cent."""
    known = Scenario(
        name="known",
        help="",
        duration_s=300,
        machine=msgspec.structs.replace(_QUIET, droop=1.0, smt_yield=1.0),
        jobs=Jobs(count=(4, 4), length_s=(60, 200)),
        watch=Watch(edges=True),
    )
    for seed in range(3):
        errors = score(known, seed)
        assert errors.oracle["active cpu"].max() < 0.03
        assert errors.oracle["active cpu"].mean() < errors.settled["active cpu"].mean()


@pytest.mark.parametrize("seed", range(3))
def test_settled_books_of_short_jobs_are_better_than_live_ones(seed: int) -> None:
    """Where no tick marks the edges of short jobs, settled books hold less against them than live ones."""
    (ticks,) = [scenario for scenario in load() if scenario.name == "short, ticks"]
    errors = score(ticks, seed)
    assert errors.settled["all"].mean() < errors.live["all"].mean()


@pytest.mark.parametrize("scenario", load(), ids=lambda scenario: scenario.name)
def test_every_scenario_balances_and_repeats(scenario: Scenario) -> None:
    """The same seed gives the same errors, and not a microjoule is missing."""
    short = msgspec.structs.replace(scenario, duration_s=200)
    first, again = score(short, 7), score(short, 7)
    assert first.residual_uj == 0
    for meaning, errors in first.settled.items():
        np.testing.assert_array_equal(errors, again.settled[meaning])


def test_a_scenario_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """An unknown key is an error with the file's name and the key."""
    (tmp_path / "odd.toml").write_text('name = "odd"\nhelp = ""\n[machine]\ncoers = 3\n')
    with pytest.raises(ValueError, match=r"odd\.toml.*coers"):
        load(tmp_path)
