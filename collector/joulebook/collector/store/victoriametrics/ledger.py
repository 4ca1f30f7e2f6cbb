"""Ledger rows out of VictoriaMetrics, of which only those count that a mark vouches for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from joulebook.collector.facts.mark import Ints, Mark
from joulebook.collector.ledger.domains import CLASSES, TIERS
from joulebook.collector.ledger.figures import ENERGIES, FIGURES
from joulebook.collector.store.rows import AccountRow
from joulebook.collector.store.spread import Booked
from joulebook.collector.store.victoriametrics.content import (
    Samples,
    Series,
    booked_as,
    slots,
)
from joulebook.collector.store.window import GapBetween

UNATTRIBUTED = "unattributed"
_LEDGER = "ledger_"
WHOLE = f"{_LEDGER}energy_uj"
METRICS = [_LEDGER + name for name in (*FIGURES, "energy_uj")]


class Vouched:
    """Reports by where those of their ledger rows are that count."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        self.marks = marks
        places: dict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
        for i, mark in enumerate(marks):
            key = (mark.node, mark.clock, booked_as(mark.booking))
            places[key].append((int(slots(mark)[-1]), i))
        self._places = {key: np.array(sorted(found), dtype=np.int64) for key, found in places.items()}

    def rows(self, series: Series, samples: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
        """Return the numbers of the Reports that a series has rows of, and the values."""
        own = self._places.get((series.node, series.clock, series.booking))
        if own is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        times, values = samples
        place = np.minimum(np.searchsorted(own[:, 0], times), len(own) - 1)
        there = own[place, 0] == times
        return own[place[there], 1], values[there]


@dataclass(slots=True)
class _Sums:
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FIGURES, 0))
    observed_us: int = 0
    first_unix_us: int = 1 << 62
    last_unix_us: int = -(1 << 62)

    def observe(self, length_us: int, first_unix_us: int, last_unix_us: int) -> None:
        self.observed_us += length_us
        self.first_unix_us = min(self.first_unix_us, first_unix_us)
        self.last_unix_us = max(self.last_unix_us, last_unix_us)


def account_rows(
    samples: Samples, vouched: Vouched, gaps: Sequence[GapBetween], account: str | None
) -> list[AccountRow]:
    """Add rows up by account and node, and what passed in gaps."""
    found: dict[tuple[str, str], _Sums] = defaultdict(_Sums)
    length_us = np.array([m.end_us - m.start_us for m in vouched.marks], dtype=np.int64)
    end_us = np.array([m.end_unix_us for m in vouched.marks], dtype=np.int64)
    for series, both in samples.items():
        reports, values = vouched.rows(series, both)
        if not len(reports):
            continue
        own = found[series.account, series.node]
        if series.metric == WHOLE:
            first_us = int((end_us[reports] - length_us[reports]).min())
            own.observe(int(length_us[reports].sum()), first_us, int(end_us[reports].max()))
        else:
            own.sums[series.metric.removeprefix(_LEDGER)] += _total(values)
    for gap in gaps if account in (None, UNATTRIBUTED) else ():
        booked_uj = gap.gap.by_class_uj.tolist()
        if any(booked_uj):
            own = found[UNATTRIBUTED, gap.node]
            for name, uj in zip(ENERGIES, booked_uj, strict=False):
                own.sums[name] += uj
            length = gap.gap.end_us - gap.gap.start_us
            own.observe(length, gap.end_unix_us - length, gap.end_unix_us)
    return [_row(*key, own) for key, own in sorted(found.items())]


def _row(account: str, node: str, own: _Sums) -> AccountRow:
    n, tiers = len(CLASSES), len(ENERGIES) + len(TIERS)
    values = [own.sums[name] for name in FIGURES]
    modelled_uj, systematic_uj, variance_uj2 = values[tiers:]
    return AccountRow(
        account,
        node,
        tuple(values[:n]),
        tuple(values[n : 2 * n]),
        tuple(values[2 * n : tiers]),
        modelled_uj,
        systematic_uj,
        variance_uj2,
        own.observed_us,
        own.first_unix_us,
        own.last_unix_us,
    )


def _total(values: Ints) -> int:
    """Return the sum, which may be beyond 63 bits."""
    return (int((values >> 31).sum()) << 31) + int((values & 0x7FFFFFFF).sum())


def booked(samples: Samples, vouched: Vouched, gaps: Sequence[GapBetween]) -> Iterator[Booked]:
    """Return each row's energy and the time of its interval, gaps included."""
    for series, both in samples.items():
        if series.metric == WHOLE:
            reports, values = vouched.rows(series, both)
            for i, energy_uj in zip(reports.tolist(), values.tolist(), strict=True):
                mark = vouched.marks[i]
                began_us = mark.end_unix_us - (mark.end_us - mark.start_us)
                yield series.account, energy_uj, began_us, mark.end_unix_us
    for gap in gaps:
        length_us = gap.gap.end_us - gap.gap.start_us
        energy_uj = int(gap.gap.by_class_uj.sum())
        yield UNATTRIBUTED, energy_uj, gap.end_unix_us - length_us, gap.end_unix_us
