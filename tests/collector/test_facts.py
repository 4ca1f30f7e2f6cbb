"""The facts answer as of one instant, and place a Report with little work."""

from __future__ import annotations

import threading
import tracemalloc
from contextlib import closing
from typing import Any

import pytest

from joulebook.collector.facts.mark import Mark, free_clock
from joulebook.collector.facts.protocol import Place, Told
from joulebook.collector.facts.sqlite import SqliteFacts

_BOOT = b"b" * 16
_SECOND_US = 1_000_000


def _mark(second: int) -> Mark:
    """Return a Report of one second, in which the meter went on by 1 µJ."""
    start_us, end_us = second * _SECOND_US, (second + 1) * _SECOND_US
    first_uj, last_uj = str(second), str(second + 1)
    return Mark("n1", _BOOT, "", end_us, start_us, end_us, start_us, 1, 0, 0, 7, "1000000", first_uj, last_uj)


def _stored(facts: SqliteFacts, second: int) -> None:
    mark, digest = _mark(second), b"%16d" % second
    last_slot = mark.end_unix_us // 1000
    facts.reserve([Place(mark, last_slot, last_slot, digest)])
    facts.settle({mark.name: b""}, {mark.name: digest}, Told())


def test_what_fills_a_gap_ends_it_at_the_same_instant() -> None:
    """Whatever is stored while an answer is read, a Report and the gap that it fills are never both there."""

    class Interrupted(SqliteFacts):
        asked = 0

        def _rows(self, query: str, parameters: Any = ()) -> list[Any]:
            if asking and threading.current_thread() is threading.main_thread():
                self.asked += 1
                if self.asked > 1:
                    other = threading.Thread(target=self._fill)
                    other.start()
                    other.join()
            return super()._rows(query, parameters)

        def _fill(self) -> None:
            if self._using.acquire(blocking=False):
                _stored(self, 1)
                self._using.release()

    asking = False
    with closing(Interrupted(":memory:")) as facts:
        for second in (0, 2):
            _stored(facts, second)
        asking = True
        during = facts.during(-1, 1 << 53, None)
        asking = False
        assert facts.asked > 1
        told_uj = len(during.ended) + sum(
            int(after.first_uj) - int(before.last_uj) for before, after in during.parted
        )
        assert told_uj == 3


@pytest.mark.parametrize("count", [0, 1, 2, 12])
def test_a_clock_is_the_first_that_is_free(count: int) -> None:
    """Clocks are taken in order, and no more of them are made than it takes to find one."""
    used = {"", *map(str, range(1, count))} if count else set()
    tracemalloc.start()
    found = free_clock(used)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == ("" if not count else str(count))
    assert most_bytes < 100_000
