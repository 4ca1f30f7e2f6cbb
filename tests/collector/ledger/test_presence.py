"""What a job holds at edges without a tick of their own is what it lived of these intervals."""

import numpy as np
import pytest

from joulebook.collector.ledger.presence import Presence, presence_of

_SECOND = 1_000_000


def _presence(used: list[float], *, interval_us: list[int] | None = None) -> Presence:
    """Return the presence of a job that uses so many of 4 CPUs (NaN: not there), and of one always there."""
    busy = np.array([used, [2.0] * len(used)])
    known = ~np.isnan(busy)
    lengths = np.array(interval_us or [_SECOND] * len(used))
    held = np.where(known, 4.0, 0.0)
    return presence_of(lengths, known, np.nan_to_num(busy), held)


_NO = float("nan")


def test_edges_are_told_by_how_busy_a_job_was() -> None:
    """A third of its usual use is a third of an interval; nobody else is touched."""
    found = _presence([_NO, 1.0, 3.0, 3.0, 3.0, 1.5, _NO])
    assert found.part[0].tolist() == pytest.approx([1, 1 / 3, 1, 1, 1, 0.5, 1])
    assert (found.part[1] == 1).all()
    assert (found.deviation > 0).nonzero()[1].tolist() == [1, 5]


def test_who_was_seen_in_no_whole_interval_lived_for_what_it_used_at_least() -> None:
    """A job of one or two intervals uses no more than it holds, and its life is less sure."""
    found = _presence([_NO, 1.0, 2.0, _NO, 4.0, _NO])
    assert found.part[0].tolist() == pytest.approx([1, 0.25, 0.5, 1, 1, 1])
    told = _presence([_NO, 1.0, 3.0, 3.0, _NO])
    assert found.deviation[0, 1] > told.deviation[0, 1]


@pytest.mark.parametrize("case", ["stretch", "edge tick"])
def test_an_edge_that_is_none_or_has_a_tick_leaves_the_interval_whole(case: str) -> None:
    """At a stretch's ends and where a tick came at the edge nothing is taken from a job."""
    if case == "stretch":
        found = _presence([1.0, 3.0, 3.0, 1.0])
    else:
        lengths = [_SECOND, 400_000, _SECOND, _SECOND, 300_000, _SECOND]
        found = _presence([_NO, 1.0, 3.0, 3.0, 1.0, _NO], interval_us=lengths)
    assert (found.part == 1).all()
    assert (found.deviation == 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_parts(seed: int) -> None:
    """Whatever jobs use, a part is between nothing and all, and untouched where a job is not."""
    rng = np.random.default_rng(seed)
    known = rng.random((6, 40)) < 0.7
    busy = np.where(known, rng.exponential(2.0, known.shape), 0.0)
    held = np.where(known, rng.uniform(0, 4, known.shape), 0.0)
    found = presence_of(np.full(40, _SECOND), known, busy, held)
    assert ((found.part >= 0) & (found.part <= 1)).all()
    assert (found.part[~known] == 1).all()
    assert np.isfinite(found.deviation).all()
