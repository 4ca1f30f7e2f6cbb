"""Book an hour's Reports once more, when it is over, with all that they tell together, in InfluxDB.

Any number of collectors may do it, of the same hours and at once: of the same Reports they write the same.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from joulebook.collector.facts.mark import Mark
from joulebook.collector.ledger.figures import ENERGIES
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.anew import (
    HOUR_US,
    SETTLES_US,
    Rows,
    UnbalancedError,
    figures,
    final_jobs,
)
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.influxdb_http import NAMES, InfluxServer
from joulebook.collector.store.influxdb_ledger import SUMS
from joulebook.collector.store.influxdb_lines import requests, untag
from joulebook.collector.store.influxdb_settled import (
    BY_HOUR,
    HourKey,
    Pointer,
    difference,
    pointed_hours,
    pointer_line,
    read_added,
    read_each,
    read_pointers,
    set_of,
    settled_lines,
    unsound_hours,
)
from joulebook.collector.store.influxdb_stored_hour import stored_hour
from joulebook.collector.store.influxdb_superseded import superseded_lines
from joulebook.collector.store.influxdb_window import among, where
from joulebook.collector.store.protocol import BeyondRetentionError, Range

_log = logging.getLogger(__name__)

# How far back each look goes; what comes later for an hour before is known by who took it, or found in a day.
_RECENT_HOURS = 24
_ALL_EVERY_US = 24 * HOUR_US
_OLDER_AT_ONCE = 1_000
_AGAIN_S = 3600.0
# As long it is watched that nobody wrote into what counts.
_WATCHED_S = 3600.0
# Who wrote it may have ended since: at the start all hours are looked through for that, later those of two
# days, so many with each look; a question is of one hour of all nodes.
_SOUGHT_HOURS = 48
_SOUGHT_AT_ONCE = 24


@dataclass(frozen=True, slots=True)
class _Booked:
    """A node's hour that was settled here: what counts, how many rows it has, and when that was."""

    pointer: Pointer
    rows: int
    at_s: float


class InfluxSettlement:
    """Books what is due. policy: of hours that are booked anew for the first time."""

    def __init__(
        self,
        store: InfluxStore,
        policy: Policy,
        *,
        settle_us: int = SETTLES_US,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        rng: Random | None = None,
    ) -> None:
        self._store, self._policy, self._clock_us = store, policy, clock_us
        self._settle_us = settle_us
        self._rng = rng or Random()
        # When all there is was looked at, and what is due of it yet.
        self._all_us = -(1 << 62)
        self._older: list[HourKey] = []
        self._refused_s: dict[HourKey, float] = {}
        self._booked: dict[HourKey, _Booked] = {}
        # The hours to be looked through, the next one last, and those that have other rows than they should.
        self._seek_us = -(1 << 62)
        self._sought: list[int] = []
        self._unsound: set[HourKey] = set()

    @property
    def _server(self) -> InfluxServer:
        return self._store._server

    def steps(self, now_us: int) -> Iterator[str]:
        """Book what is due by now_us of the wall clock; say after each step what was done."""
        before = (now_us - self._settle_us) // HOUR_US
        for key in self._due(now_us, before):
            if time.monotonic() - self._refused_s.get(key, float("-inf")) < _AGAIN_S:
                continue
            try:
                yield "booked anew" if self._book(*key) else "found done"
            except (UnbalancedError, BeyondRetentionError) as error:
                self._refused_s[key] = time.monotonic()
                _log.warning(
                    "%s: hour %d of %s stays as it was booked: %s; it is tried again in an hour",
                    *(self._store.place, key[1], key[0], error),
                )

    def _due(self, now_us: int, before: int) -> list[HourKey]:
        """Return what is due of late, and after it some of what is older."""
        first = before - _RECENT_HOURS
        if not self._older and now_us - self._all_us >= _ALL_EVERY_US:
            oldest = self._store.oldest_us() // HOUR_US
            if oldest < first:
                self._older = self._store.unsettled_hours(oldest * HOUR_US, first * HOUR_US, None)
                self._rng.shuffle(self._older)
            # Only now: where the server did not answer, it is asked with the next look, not in a day.
            self._all_us = now_us
        due = {*self._store.unsettled_hours(first * HOUR_US, before * HOUR_US, None)}
        due |= {key for key in self._store.late_hours.copy() if key[1] < before}
        due |= self._watch()
        self._seek(now_us, before)
        due |= self._unsound
        recent = sorted(due)
        # Collectors that look at the same time begin elsewhere, and find done what another one did.
        self._rng.shuffle(recent)
        older, self._older = self._older[:_OLDER_AT_ONCE], self._older[_OLDER_AT_ONCE:]
        return recent + older

    def _seek(self, now_us: int, before: int) -> None:
        """Look through some of the hours for those whose rows are not the pointer's, the newest first."""
        if not self._sought and now_us - self._seek_us >= _ALL_EVERY_US:
            oldest = self._store.oldest_us() // HOUR_US
            first = oldest if self._seek_us < 0 else max(oldest, before - _SOUGHT_HOURS)
            self._sought = pointed_hours(self._server, first * HOUR_US, before * HOUR_US)
            self._seek_us = now_us
        for _ in range(min(_SOUGHT_AT_ONCE, len(self._sought))):
            hour = self._sought[-1]
            self._unsound |= unsound_hours(self._server, hour * HOUR_US, (hour + 1) * HOUR_US)
            self._sought.pop()

    def _watch(self) -> set[HourKey]:
        """Return the hours, of those settled here of late, that another collector wrote into."""
        for key, own in list(self._booked.items()):
            if time.monotonic() - own.at_s > _WATCHED_S:
                del self._booked[key]
        return self._spoilt(self._booked)

    def _spoilt(self, keys: Collection[HourKey]) -> set[HourKey]:
        """Return which hours, of some that were settled here, have not the rows that were written here."""
        own = {key: booked for key in keys if (booked := self._booked.get(key)) is not None}
        if not own:
            return set()
        nodes, hours = {node for node, _ in own}, [hour for _, hour in own]
        (found,) = self._server.query(
            'SELECT count("set") AS "count", min("set") AS "least", max("set") AS "most" FROM "settled" '
            f"WHERE {where(min(hours) * HOUR_US, (max(hours) + 1) * HOUR_US)}{among(nodes)} "
            f'GROUP BY "node", "booking", {BY_HOUR}'
        )
        there = {
            (untag(series.tags["node"]), (row["time"] - 1) // HOUR_US, int(series.tags["booking"])): (
                *(row["count"], row["least"], row["most"]),
            )
            for series in found
            for row in series.rows()
        }
        expected = {
            (*key, booked.pointer.booking): (booked.rows, booked.pointer.set_, booked.pointer.set_)
            for key, booked in own.items()
            if booked.rows
        }
        return {key[:2] for key, said in expected.items() if there.get(key) != said}

    def _pointer(self, node: str, hour: int) -> Pointer | None:
        within = _range(node, hour)
        return read_pointers(self._server, within.from_us, within.to_us, [node]).get((node, hour))

    def _book(self, node: str, hour: int) -> bool:
        """Book all of a node's Reports of an hour; say whether that was still to do."""
        within = _range(node, hour)
        was = self._pointer(node, hour)
        marks = sorted(self._store._window(within).marks, key=lambda m: (m.end_unix_us, m.boot, m.start_us))
        policy = Policy(was.policy) if was else self._policy
        set_ = set_of(marks, policy.value)
        own = self._booked.get((node, hour))
        spoilt = own is not None and own.pointer == was and bool(self._spoilt([(node, hour)]))
        if not spoilt and (node, hour) in self._unsound:
            # Another collector may have found it too, and booked it since.
            spoilt = (node, hour) in unsound_hours(self._server, within.from_us, within.to_us)
        self._unsound.discard((node, hour))
        if not marks or (was is not None and was.set_ == set_ and not spoilt):
            self._store.late_hours.discard((node, hour))
            return False
        stored = stored_hour(self._server, within, marks, self._store._known_layout)
        live = stored.rows
        more = [
            {} if now is None else difference(own, now)
            for own, now in zip(live, stored.anew(policy), strict=True)
        ]
        if was is not None:
            self._keep_observed(within, was, marks, live, more)
        pointer = Pointer(
            self._free(within, was.booking if was else 0, set_, spoilt=spoilt),
            *(set_, len(marks), policy.value),
            (*was.before, was.set_) if was else (),
        )
        for body in requests(settled_lines(marks, live, more, pointer.booking, set_)):
            self._server.write(body)
        told = [*self._superseded(node, hour, was, pointer, more)]
        if self._pointer(node, hour) != was:
            # Another collector was faster, and the figures may be those that it made.
            return False
        for body in requests(iter(told)):
            self._server.write(body, NAMES)
        # Before it is answered: a pointer may be there of which nobody heard, and its rows are to be watched.
        self._booked[node, hour] = _Booked(pointer, sum(map(len, more)), time.monotonic())
        self._server.write(pointer_line(node, hour, pointer))
        self._store.late_hours.discard((node, hour))
        return True

    def _free(self, within: Range, above: int, set_: int, *, spoilt: bool) -> int:
        """Return the first number under which there is nothing, or only what is the same."""
        (found,) = self._server.query(
            'SELECT min("set") AS "least", max("set") AS "most" FROM "settled" '
            f'WHERE {where(within.from_us, within.to_us, within.node)} GROUP BY "booking"'
        )
        taken = {
            int(series.tags["booking"])
            for series in found
            for row in series.rows()
            # One of the two is not there yet where another collector has just begun to write.
            if spoilt or {row["least"], row["most"]} - {None, set_}
        }
        return next(n for n in range(above + 1, above + len(taken) + 2) if n not in taken)

    def _superseded(
        self, node: str, hour: int, was: Pointer | None, pointer: Pointer, more: Sequence[Rows]
    ) -> Iterator[bytes]:
        """Return the points of jobs that had ended and whose energy is another now: what it was."""
        differs: Counter[str] = Counter()
        for rows in more:
            for account, row in rows.items():
                differs[account] += sum(row[: len(ENERGIES)])
        if was is not None:
            for _, account, added in read_added(self._server, _range(node, hour), {(node, hour): was}):
                differs[account] -= sum(added[name] or 0 for name in ENERGIES)
        jobs = final_jobs(self._store, [account for account, uj in differs.items() if uj])
        yield from superseded_lines(node, hour, pointer, figures(self._store, jobs), self._clock_us())

    def _keep_observed(
        self, within: Range, was: Pointer, marks: Sequence[Mark], live: Sequence[Rows], more: list[Rows]
    ) -> None:
        """Let who received something when it was settled before keep a row, so it stays observed."""
        place = {(mark.clock, mark.end_unix_us): i for i, mark in enumerate(marks)}
        nothing = (0,) * (len(SUMS) - 1)
        for node, clock, at_us, account in read_each(
            self._server, within, {(str(within.node), within.from_us // HOUR_US): was}
        ):
            i = place.get((clock, at_us))
            if node == within.node and i is not None and account not in live[i]:
                more[i].setdefault(account, nothing)


def _range(node: str, hour: int) -> Range:
    return Range(hour * HOUR_US, (hour + 1) * HOUR_US, node)
