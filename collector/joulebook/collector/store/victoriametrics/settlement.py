"""Book an hour's Reports once more, when it is over, with all that they tell together.

Rows are written under a number that none of their Reports had before, so nothing is there twice; when the
server took them one transaction of the facts has them count, and keeps them until the server shows them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from joulebook.collector.facts.mark import Mark, Name
from joulebook.collector.ledger.figures import ENERGIES
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.anew import (
    HOUR_US,
    SETTLES_US,
    Rows,
    UnbalancedError,
    differences,
)
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.victoriametrics.content import Content
from joulebook.collector.store.victoriametrics.store import VictoriaStore
from joulebook.collector.store.victoriametrics.stored_hour import stored_hour

_log = logging.getLogger(__name__)

# As many Reports are switched in a transaction, or those of one node where they are more.
_AT_ONCE = 20_000
_IDLE = len(ENERGIES) // 2
# How soon an hour that could not be booked anew is tried again.
_AGAIN_S = 3600.0
# Of what the server is about to forget nothing is booked.
_FORGETS_US = 2 * HOUR_US


@dataclass(frozen=True, slots=True)
class _Anew:
    """A node's Reports, those of them whose rows are to be others, and what these change by account."""

    names: list[Name]
    rows: list[tuple[Mark, Content]]
    differs: Counter[str]


class Settlement:
    """Books what is due. policy: of hours that are booked anew for the first time."""

    def __init__(
        self,
        store: VictoriaStore,
        policy: Policy,
        *,
        settle_us: int = SETTLES_US,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._store, self._policy, self._clock_us = store, policy, clock_us
        self._settle_us = settle_us
        # When each node's hour was found not to be whole.
        self._refused_s: dict[tuple[int, str], float] = {}

    def steps(self, now_us: int) -> Iterator[str]:
        """Book what is due by now_us of the wall clock, the oldest first; say after each step what it did."""
        self._store.look()
        before_us = (now_us - self._settle_us) // HOUR_US * HOUR_US
        after_us = self._store.keeps_from_us(now_us)
        after_us = after_us + _FORGETS_US if after_us is not None else -(1 << 62)
        for hour, nodes in self._store._facts.due(after_us, before_us).items():
            for together in _together(nodes):
                yield from self._book(hour, together)

    def _book(self, hour: int, nodes: list[str]) -> Iterator[str]:
        policy = Policy(self._store._facts.policy_of(hour) or self._policy)
        found: list[_Anew] = []
        for node in nodes:
            if time.monotonic() - self._refused_s.get((hour, node), float("-inf")) < _AGAIN_S:
                continue
            try:
                found.append(self._anew(hour, node, policy))
            except UnbalancedError as error:
                self._refused_s[hour, node] = time.monotonic()
                _log.warning(
                    "%s: hour %d of %s stays as it was booked: %s; it is tried again in an hour",
                    *(self._store.place, hour, node, error),
                )
            else:
                self._refused_s.pop((hour, node), None)
                yield "read"
        if found:
            rows = [one for own in found for one in own.rows]
            differs: Counter[str] = Counter()
            for own in found:
                differs.update(own.differs)
            changed = [account for account, uj in differs.items() if uj]
            names = [name for own in found for name in own.names]
            self._store.rebook(hour, policy, names, rows, changed, self._clock_us)
            yield "booked anew"

    def _anew(self, hour: int, node: str, policy: Policy) -> _Anew:
        """Book all of a node's Reports of an hour."""
        seen = self._store._seen(Range(hour * HOUR_US, (hour + 1) * HOUR_US, node))
        marks = sorted(seen.window.marks, key=lambda m: (m.end_unix_us, m.boot, m.start_us))
        samples = self._store._samples(seen, None, node)
        stored = stored_hour(samples, marks, lambda hash_: self._store._known_layout(node, hash_))
        anew, pairs = [], []
        for mark, was, now in zip(marks, stored.rows, stored.anew(policy), strict=True):
            if now is not None:
                layout = self._store._known_layout(node, mark.layout)
                anew.append((mark, _content(now, len(layout.is_counter))))
                pairs.append((was, now))
        return _Anew([mark.name for mark in marks], anew, differences(pairs))


def _content(rows: Rows, series: int) -> Content:
    table = [
        (*row, sum(row[: len(ENERGIES)]), sum(row[_IDLE : len(ENERGIES)])) for _, row in sorted(rows.items())
    ]
    return Content(np.zeros((series, 0), dtype=np.int64), sorted(rows), np.array(table, dtype=np.int64))


def _together(nodes: Mapping[str, int]) -> Iterator[list[str]]:
    """Split nodes, of which there are so many Reports each, so that those of one part are not too many."""
    part: list[str] = []
    count = 0
    for node, reports in sorted(nodes.items()):
        if part and count + reports > _AT_ONCE:
            yield part
            part, count = [], 0
        part.append(node)
        count += reports
    if part:
        yield part
