"""How long reads take, in a row with a rest between them, in which others have the caches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from tests.bench.rows import Row, row


def times_us(call: Callable[[], object], count: int, rest_s: float) -> list[float]:
    """Return how long each of some calls took, in µs."""
    took = []
    for _ in range(count):
        began_ns = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - began_ns) / 1000)
        time.sleep(rest_s)
    return took


def p99(values: Sequence[float]) -> float:
    """Return what 99 of 100 values are not above."""
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


def rows_of(what: str, took: Sequence[float]) -> list[Row]:
    """Return the rows of a read's median and 99th percentile."""
    return [
        row(f"read of {what}: p50", "µs", statistics.median(took)),
        row(f"read of {what}: p99", "µs", p99(took)),
    ]
