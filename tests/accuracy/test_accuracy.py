"""The proof's own proof: physics conserve, books balance, and what is known exactly comes out exactly."""

import json
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest

from tests.accuracy.__main__ import main
from tests.accuracy.gpus import holders_w, run_gpus
from tests.accuracy.mix import draw
from tests.accuracy.physics import simulate
from tests.accuracy.reports import reports
from tests.accuracy.scenario import Gpus, Jobs, Machine, Scenario, Watch, load
from tests.accuracy.score import score
from tests.accuracy.telemetry import watch

_QUIET = Machine(noise=0.0, miscalibration=0.0)


@pytest.mark.parametrize("seed", range(5))
def test_what_everybody_caused_is_what_the_machine_drew(seed: int) -> None:
    """Aumann–Shapley shares add up to the power drawn beyond idle in every step, and none is negative."""
    scenario = Scenario(name="any", help="", duration_s=300, jobs=Jobs(length_s=(60, 200)), machine=_QUIET)
    mix = draw(scenario, seed)
    run = simulate(scenario, mix, seed)
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


@pytest.mark.parametrize("how", ["exclusive", "shared", "divided"])
def test_what_gpus_draw_is_somebodys_or_idle(how: Literal["exclusive", "shared", "divided"]) -> None:
    """What jobs cause and the idle draw are all that GPUs draw; no more idle draw is held than there is."""
    gpus = Gpus(count=2, how=how, held=(1, 3), idle=0.3)
    scenario = Scenario(name="any", help="", duration_s=300, machine=_QUIET, gpus=gpus)
    for seed in range(3):
        mix = draw(scenario, seed)
        run = run_gpus(scenario, mix, seed)
        np.testing.assert_allclose(run.power_w, gpus.idle_w + run.caused_w.sum(axis=2))
        assert run.use.sum(axis=2).max() <= 1 + 1e-9
        assert not run.use[:, :, ~run.works].any()
        held_w = holders_w(gpus, mix, run.held).sum(axis=1)
        assert 0 < held_w.max() <= gpus.count * gpus.idle_w + 1e-9


def test_a_gpu_of_ones_own_costs_what_it_drew() -> None:
    """With an exact sensor that sees all, whoever has whole GPUs is booked what they drew."""
    owned = Scenario(
        name="owned",
        help="",
        duration_s=300,
        machine=_QUIET,
        gpus=Gpus(count=8),
        jobs=Jobs(length_s=(100, 200)),
        watch=Watch(edges=True),
    )
    for seed in range(3):
        assert score(owned, seed).live["gpu"].max() < 0.01


def test_neither_a_wrap_nor_a_clock_that_is_set_moves_a_joule() -> None:
    """Counters that wrap and wall clocks that are set give the same errors as those that do not."""
    calm = Scenario(name="same", help="", duration_s=300, jobs=Jobs(length_s=(100, 200)))
    wraps = msgspec.structs.replace(calm.machine, counter_range_j=12_000.0)
    odd = msgspec.structs.replace(
        calm, machine=wraps, watch=msgspec.structs.replace(calm.watch, clock_steps_s=100.0)
    )
    for seed in range(3):
        one, other = score(calm, seed), score(odd, seed)
        for meaning, errors in one.live.items():
            np.testing.assert_array_equal(errors, other.live[meaning])


def test_what_no_agent_saw_is_booked_to_nobody() -> None:
    """Jobs that an agent could not see for a while are short of that while, and of no more."""
    seen = Scenario(name="seen", help="", duration_s=300, jobs=Jobs(length_s=(100, 200)), machine=_QUIET)
    away = msgspec.structs.replace(seen, watch=msgspec.structs.replace(seen.watch, restarts=3, away_s=10.0))
    mix = draw(seen, 1)
    run = simulate(seen, mix, 1)
    sent_s = []
    for scenario in (seen, away):
        ticks = watch(scenario, mix, run, 1)
        sent = reports(scenario, mix, run, ticks, 1)
        sent_s.append(sum(one.end_us - one.start_us for one in sent) / 1e6)
    assert sent_s[0] == 300
    assert 300 - 3 * 11 <= sent_s[1] < 300


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


def test_live_books_learn_who_drives_cpus_harder() -> None:
    """Of jobs that differ and come and go, live books miss half of what CPU time does, or less."""
    differ = Scenario(name="differ", help="", duration_s=900, jobs=Jobs(count=(4, 4), length_s=(200, 500)))
    scores = [score(differ, seed) for seed in range(4)]
    live = np.concatenate([s.live["active cpu"] for s in scores])
    peer = np.concatenate([s.peers["CPU time"] for s in scores])
    assert live.mean() < peer.mean() / 2
    assert np.concatenate([s.live_within for s in scores]).mean() > 0.8


@pytest.mark.parametrize("how", ["shared", "divided"])
def test_settled_books_tell_apart_who_shares_a_gpu(how: Literal["shared", "divided"]) -> None:
    """How hard each drives a GPU that they share is learnt: settled books miss half of what live ones do."""
    shared = Scenario(
        name="shared",
        help="",
        duration_s=600,
        machine=_QUIET,
        gpus=Gpus(count=1, how=how, held=(2, 2), idle=0.0, intensity=(0.5, 1.5)),
        jobs=Jobs(count=(3, 3), length_s=(200, 500)),
        watch=Watch(edges=True),
    )
    settled, live = zip(
        *((s.settled["gpu"], s.live["gpu"]) for s in (score(shared, n) for n in range(4))), strict=True
    )
    assert np.concatenate(settled).mean() < np.concatenate(live).mean() / 2


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


def test_the_command_tells_what_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any directory's scenarios run from any seed; rows come as JSON, and a target that is missed fails."""
    (tmp_path / "own.toml").write_text('name = "own"\nhelp = ""\nduration_s = 200.0\ntarget = 0.0\n')
    command = ["accuracy", "--scenarios", str(tmp_path), "--seed", "5", "--mixes", "2", "--json"]
    monkeypatch.setattr("sys.argv", command)
    assert main() == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["own: residual"]["ours"] == 0
    assert rows["own: error per job, active cpu, settled"]["met"] is False
