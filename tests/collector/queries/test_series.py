"""Series come in buckets: exact sums of counters, means of gauges over time."""

from typing import Any

import pytest

from joulebook.collector.queries.buckets import MAX_BUCKETS
from joulebook.collector.queries.errors import BadValueError, UnknownNameError
from joulebook.collector.queries.series import SeriesSet, get_series
from tests.simulated.cluster import JOB, Cluster
from tests.simulated.node import WALL_US


def _series(books: Cluster, metric: str, **given: Any) -> SeriesSet:
    asked: dict[str, Any] = {
        "node": None,
        "subject": None,
        "from_us": WALL_US,
        "to_us": books.now_us,
        "step_us": 10_000_000,
        "limit": 100,
        "cursor": None,
    }
    return get_series(books.store, metric=metric, **(asked | given))


def test_counters_are_added_up_exactly(books: Cluster) -> None:
    """A bucket holds every µJ of the ticks that ended in it, and nothing where nothing was reported."""
    found = _series(books, "energy_uj", node="n1", subject="cpu.0")
    busy = 40_000_000 + 30_500_000
    assert found.series[0].values == [10 * busy, None, 10 * busy, 10 * (busy - 10_000_000)]
    assert (found.kind, found.unit, found.times_s[0]) == ("counter", "uJ", WALL_US / 1e6 + 10)


def test_ticks_within_a_report_are_told_apart(books: Cluster) -> None:
    """Buckets of a second hold a tick each."""
    found = _series(books, "cpu_us", node="n2", subject=JOB, step_us=1_000_000)
    assert found.series[0].values == [2_000_000] * 40


def test_range_that_cuts_a_report(books: Cluster) -> None:
    """A range that ends within a Report holds that Report's ticks up to there."""
    found = _series(books, "cpu_us", node="n2", to_us=WALL_US + 5_000_000, subject=JOB)
    assert found.series[0].values == [10_000_000]


def test_gauges_are_means(books: Cluster) -> None:
    """A gauge's bucket is its mean over time."""
    found = _series(books, "memory_used_bytes", node="n1", step_us=40_000_000)
    assert found.series[0].values == [pytest.approx((9 + 9 + 8) / 3 * (1 << 30))]
    assert (found.kind, found.series[0].subject) == ("gauge", "")


def test_series_come_in_pages(books: Cluster) -> None:
    """limit and cursor walk through all series of a metric, each once."""
    seen = []
    cursor = None
    while True:
        found = _series(books, "energy_uj", limit=2, cursor=cursor)
        seen += [(series.node, series.subject) for series in found.series]
        cursor = found.next_cursor
        if cursor is None:
            break
    assert seen == [
        (n, d) for n, ds in (("n1", ("cpu.0", "memory.0", "node")), ("n2", ("cpu.0", "memory.0"))) for d in ds
    ]


def test_step_suits_the_range(books: Cluster) -> None:
    """Without a step there are as many buckets as a chart can show."""
    assert _series(books, "energy_uj", step_us=None).step_us == 1_000_000
    assert _series(books, "energy_uj", step_us=None, from_us=WALL_US - 86_400_000_000).step_us == 300_000_000


def test_unknown_metric_is_refused(books: Cluster) -> None:
    """A metric that the catalogue does not have is refused with the nearest that it has."""
    with pytest.raises(BadValueError, match=r"metric 'energy': .* did you mean 'energy_uj'\?"):
        _series(books, "energy")


def test_too_many_buckets_are_refused(books: Cluster) -> None:
    """A step that would give more buckets than are served is refused, and the least one named."""
    with pytest.raises(BadValueError, match=rf"step '0.001s': expected at least .* {MAX_BUCKETS}"):
        _series(books, "energy_uj", step_us=1000)


def test_unknown_node_is_refused(books: Cluster) -> None:
    """A node that is not in the books is refused by name."""
    with pytest.raises(UnknownNameError, match="node 'x'"):
        _series(books, "energy_uj", node="x")
