"""Some seeds of the simulation, and proof that it can fail."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.finals import Judgement
from joulebook.collector.ingest.sequence import Sequencer
from joulebook.collector.store.duckdb.doublewrite import note_of
from tests.simulation.mutations import Mutation
from tests.simulation.plan import plan_of
from tests.simulation.world import simulate

# Those on a real DuckDB file take a hundred times as long: of them the quickest that have many faults.
SEEDS = [seed for seed in range(60) if plan_of(seed).store != "duckdb"]
ON_DUCKDB = [101, 133, 165]


def test_nothing_is_lost_and_nothing_counted_twice() -> None:
    """Under whatever faults, the books hold what the meters delivered, once, as far as anybody can know."""
    counts: Counter[str] = Counter()
    for seed in SEEDS:
        outcome = simulate(seed)
        assert outcome.problems == [], f"make simulate SEED={seed}"
        assert (outcome.balance.lost_uj, outcome.balance.twice_uj) == (0, 0)
        counts += outcome.counts
    assert min(counts["told of powers"], counts["disks of several tiers"]) > 100


def test_a_collector_dies_between_any_two_statements() -> None:
    """Of each transaction and checkpoint on a DuckDB file all is there or nothing, wherever it was cut."""
    for seed in ON_DUCKDB:
        assert (plan_of(seed).store, plan_of(seed).faults >= 6) == ("duckdb", True)
        assert simulate(seed).problems == [], f"make simulate SEED={seed}"


@pytest.mark.parametrize("seed", [1003, 7345, 1202])
def test_a_seed_that_once_failed(seed: int) -> None:
    """A spool of less than no length; an agent stopped twice; a wait too short."""
    assert simulate(seed).problems == [], f"make simulate SEED={seed}"


def test_a_seed_replays() -> None:
    """The same seed takes the same course, event by event."""
    for seed in (1, 7, 23):
        assert simulate(seed).trace == simulate(seed).trace


class _LosesCommits(Mutation):
    """Acknowledges every fifth transaction without having written it."""

    def committer(self, committer: Committer) -> Committer:
        store: Any = committer._store
        write: Callable[[Any], None] = store.commit
        calls = 0

        def commit(what: Any) -> None:
            nonlocal calls
            calls += 1
            if calls % 5:
                write(what)

        store.commit = commit
        return committer


class _Forgets(Mutation):
    """Takes every Report for one that follows on whatever came before."""

    def committer(self, committer: Committer) -> Committer:
        sequencer: Any = committer._sequencer
        place = Sequencer.place

        def forgetful(batch: Any, _lookup: Any, refused: Any) -> Any:
            sequencer._tails.clear()
            return place(sequencer, batch, lambda *_: [], refused)

        sequencer.place = forgetful
        return committer


class _NothingIsLate(Mutation):
    """Takes no job's figure for final."""

    def committer(self, committer: Committer) -> Committer:
        finals: Any = committer._finals
        finals.judge = lambda *_: Judgement()
        return committer


class _Unnoted(Mutation):
    """Begins a checkpoint, which each commit is due, before what it may overwrite is noted."""

    def store(self, opened: Any) -> Any:
        opened._store.checkpoints.threshold_bytes = 1
        statements: Any = opened._statements
        execute = statements.execute

        def hasty(query: str, *parameters: Any) -> Any:
            if query == "CHECKPOINT":
                note_of(statements.path).unlink()
            return execute(query, *parameters)

        statements.execute = hasty
        return opened


def test_a_checkpoint_without_its_note_is_found() -> None:
    """Where a real file's metadata is overwritten before it is noted, a power cut amid that is noticed."""
    cut = [seed for seed in range(5, 2000, 16) if plan_of(seed).faults >= 6]
    assert any(simulate(seed, _Unnoted()).problems for seed in cut[:10])


@pytest.mark.parametrize(
    "mutation", [_LosesCommits(), _Forgets(), _NothingIsLate()], ids=lambda m: type(m).__name__
)
def test_a_fault_of_ours_is_found(mutation: Mutation) -> None:
    """What is broken on purpose is found within the seeds that are run each time."""
    assert any(simulate(seed, mutation).problems for seed in SEEDS)
