"""Facts in a SQLite file, for one collector."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

from joulebook.collector.facts.file import FileError, open_file
from joulebook.collector.facts.mark import Booking, Mark, Name, free_clock
from joulebook.collector.facts.protocol import During, Place, Told
from joulebook.collector.facts.sqlite_rebooked import STEP, TABLES, RebookedFacts
from joulebook.collector.facts.sqlite_scheduled import OWNERS, TABLE, TABLE_3, ScheduledFacts
from joulebook.collector.facts.sqlite_told import ToldReads, one_of, tell
from joulebook.collector.ingest.decode import MAX_INTERVAL_US
from joulebook.collector.store.garbled import read_from, reading
from joulebook.collector.store.protocol import StoreError

# "jbfa", so that no other file of ours is taken for one of these.
_KIND = 0x6A626661
# Goes up whenever the tables change, with what makes those of the version before the new ones.
_VERSION = 5
_STEPS = {2: TABLE_3, 3: STEP, 4: OWNERS}
# Slots are ms, and lie up to one an interval behind the wall clock.
_SLOT_US = 1000
_LATEST_SLOT_US = 4_000_000
_AT_ONCE = 500
_MARK = (
    "node, boot, clock, end_unix_us, start_us, end_us, start_unix_us, ledger_rows, unread_us, raised_uj, "
    "layout, interval_us, first_uj, last_uj, booking"
)
_KINDS = (str, bytes, str, *[int] * 7, bytes, str, str, str, int)
_PLACED = (
    "boot_id, settled, clock, end_unix_us, start_us, end_us, start_unix_us, ledger_rows, unread_us, "
    "raised_uj, layout, interval_us, first_uj, last_uj, first_slot, last_slot, digest"
)


class SqliteFacts(ToldReads, ScheduledFacts, RebookedFacts):
    """Facts in a file, or in memory for a path of ':memory:'. One collector has it open at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        tables = (
            resources.files("joulebook.collector.facts").joinpath("tables.sql").read_text() + TABLE + TABLES
        )
        try:
            self._connection = open_file(
                path, kind=_KIND, version=_VERSION, tables=tables, surely=True, steps=_STEPS
            )
        except FileError as error:
            raise StoreError(f"facts {path}: {error}") from error
        self._using = threading.RLock()
        with self._transaction():
            rows = self._rows("SELECT name FROM books")
            if not rows:
                rows = [(secrets.token_hex(4),)]
                self._connection.execute("INSERT INTO books VALUES (?)", rows[0])
        self.books: str = rows[0][0]
        # No Report of a node was given a later slot than this: what begins after it cannot collide.
        self._last_slot: dict[str, int] = {}
        with read_from(self.place):
            self._read_last_slots()
            self._read_changes()

    def _read_last_slots(self) -> None:
        newest = "SELECT max(end_unix_us) FROM marks WHERE boot_id = boots.boot_id"
        for node, end_unix_us in self._rows(f"SELECT node, ({newest}) FROM boots"):
            last_slot = ((end_unix_us or 0) + _LATEST_SLOT_US) // _SLOT_US
            self._last_slot[node] = max(self._last_slot.get(node, 0), last_slot)

    @property
    def place(self) -> str:
        """Return what it is, for people."""
        return f"facts {self._path}"

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Have nothing change between several questions."""
        with self._using:
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._using:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StoreError(f"facts {self._path}: not kept ({error})") from error

    def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._using:
            try:
                return self._connection.execute(query, parameters).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"facts {self._path}: cannot be read ({error})") from error

    def _marks(self, condition: str, parameters: Sequence[Any]) -> list[Mark]:
        query = f"SELECT {_MARK} FROM marks JOIN boots USING (boot_id) WHERE settled AND {condition}"
        return [_mark(row) for row in self._rows(query, parameters)]

    @reading
    def tails(self) -> list[Mark]:
        """Return the Report of every boot that ends last on its boot clock."""
        own = "SELECT mark FROM marks WHERE settled AND boot_id = b.boot_id ORDER BY start_us DESC LIMIT 1"
        return self._marks(f"mark IN (SELECT ({own}) FROM boots AS b)", ())

    @reading
    def nodes(self, named: Collection[str] | None) -> list[Mark]:
        """Return the newest Report by wall clock of every node, or of those that are named, by node."""
        among, parameters = one_of("node", named)
        number = "row_number() OVER (PARTITION BY node ORDER BY end_unix_us DESC, end_us DESC) AS place"
        own = "SELECT max(end_unix_us) FROM marks WHERE settled AND boot_id = b.boot_id"
        query = (
            f"SELECT {_MARK} FROM (SELECT *, {number} FROM marks JOIN boots USING (boot_id) WHERE settled "
            f"AND (boot_id, end_unix_us) IN (SELECT boot_id, ({own}) FROM boots AS b WHERE {among})) "
            "WHERE place = 1 ORDER BY node"
        )
        return [_mark(row) for row in self._rows(query, parameters)]

    @reading
    def during(self, from_us: int, to_us: int, node: str | None) -> During:
        """Return the Reports of a range of wall clock, all as of one instant."""
        # What is settled in between would be in the gap that it fills, and beside it.
        with self._using:
            return During(self._ended(from_us, to_us, node), self._parted(from_us, to_us, node))

    def _ended(self, from_us: int, to_us: int, node: str | None) -> list[Mark]:
        own, parameters = _of(node)
        condition = f"{own} AND end_unix_us > ? AND end_unix_us <= ? ORDER BY node, end_unix_us, end_us"
        return self._marks(condition, [*parameters, from_us, to_us])

    def _parted(self, from_us: int, to_us: int, node: str | None) -> list[tuple[Mark, Mark]]:
        own, parameters = _of(node, "after.boot_id")
        query = f"""
            SELECT after.mark, before.mark FROM marks AS after JOIN marks AS before ON before.mark = (
                SELECT mark FROM marks WHERE settled AND boot_id = after.boot_id AND start_us < after.start_us
                ORDER BY start_us DESC LIMIT 1)
            WHERE after.settled AND {own}
                AND after.end_unix_us > ? AND after.end_unix_us <= ?
                AND after.start_unix_us > ? AND after.start_unix_us <= ?
                AND NOT (before.end_us = after.start_us AND before.last_uj = after.first_uj
                         AND before.layout = after.layout)
            """
        ends = [from_us, to_us + MAX_INTERVAL_US]
        numbers = self._rows(query, [*parameters, *ends, from_us, to_us])
        marks = self._numbered({number for pair in numbers for number in pair})
        return [(marks[before], marks[after]) for after, before in numbers]

    def _numbered(self, numbers: set[int]) -> dict[int, Mark]:
        found: dict[int, Mark] = {}
        asked = sorted(numbers)
        for begin in range(0, len(asked), _AT_ONCE):
            part = asked[begin : begin + _AT_ONCE]
            some = ", ".join("?" * len(part))
            query = f"SELECT mark, {_MARK} FROM marks JOIN boots USING (boot_id) WHERE mark IN ({some})"
            found |= {row[0]: _mark(row[1:]) for row in self._rows(query, part)}
        return found

    @reading
    def around(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Mark]:
        """Return the Reports that touch [start_us, end_us] of the boot clock and one on either side."""
        own = "settled AND boot_id = (SELECT boot_id FROM boots WHERE node = ?1 AND boot = ?2)"
        touching = f"SELECT mark FROM marks WHERE {own} AND end_us >= ?3 AND start_us <= ?4"
        before = f"SELECT mark FROM marks WHERE {own} AND end_us < ?3 ORDER BY start_us DESC LIMIT 1"
        after = f"SELECT mark FROM marks WHERE {own} AND start_us > ?4 ORDER BY start_us LIMIT 1"
        parts = " UNION ".join(f"SELECT mark FROM ({part})" for part in (touching, before, after))
        return self._marks(f"mark IN ({parts}) ORDER BY start_us", (node, boot, start_us, end_us))

    def reserve(self, places: Sequence[Place]) -> list[str]:
        """Give each Report a clock under which its slots are its own; durable when this returns."""
        clocks = [""] * len(places)
        with self._transaction():
            for i in sorted(range(len(places)), key=lambda i: places[i].mark.start_us):
                clocks[i] = self._reserve(places[i])
        return clocks

    def _reserve(self, place: Place) -> str:
        mark, newest = place.mark, self._last_slot.get(place.mark.node, 0)
        taken = self._taken(place) if place.first_slot <= newest else []
        self._last_slot[mark.node] = max(newest, place.last_slot)
        for found, start_us, digest, clock in taken:
            if (found, start_us, digest) == (mark.boot, mark.start_us, place.digest):
                return clock
        clock = free_clock({clock for *_, clock in taken})
        boot = (mark.node, mark.boot)
        self._connection.execute("INSERT OR IGNORE INTO boots (node, boot) VALUES (?, ?)", boot)
        ((boot_id,),) = self._rows("SELECT boot_id FROM boots WHERE node = ? AND boot = ?", boot)
        row = [boot_id, 0, clock, mark.end_unix_us, mark.start_us, mark.end_us, mark.start_unix_us]
        row += [mark.ledger_rows, mark.unread_us, mark.raised_uj, mark.layout.to_bytes(8, "big")]
        row += [mark.interval_us, mark.first_uj, mark.last_uj, place.first_slot, place.last_slot]
        marks = ", ".join("?" * (len(row) + 1))
        self._connection.execute(f"INSERT INTO marks ({_PLACED}) VALUES ({marks})", [*row, place.digest])
        return clock

    def _taken(self, place: Place) -> list[tuple[bytes, int, bytes, str]]:
        """Return who has any of a place's slots: boot, start, digest and clock."""
        own, parameters = _of(place.mark.node)
        # A Report whose last slot is behind these may have begun before them: no longer ago than one lasts.
        latest_us = place.last_slot * _SLOT_US + MAX_INTERVAL_US + _LATEST_SLOT_US
        return self._rows(
            f"SELECT boot, start_us, digest, clock FROM marks JOIN boots USING (boot_id) WHERE {own} "
            "AND end_unix_us >= ? AND end_unix_us <= ? AND last_slot >= ? AND first_slot <= ?",
            [
                *parameters,
                place.first_slot * _SLOT_US - _LATEST_SLOT_US,
                latest_us,
                place.first_slot,
                place.last_slot,
            ],
        )

    def settle(self, kept: Mapping[Name, bytes], digests: Mapping[Name, bytes], told: Told) -> None:
        """Take Reports for stored, in one transaction with what they told and with what is kept of them."""
        with self._transaction():
            self._change += 1
            tell(self._connection, told, self._change)
            for name, content in kept.items():
                self._settle(name, digests[name], content)

    def _settle(self, name: Name, digest: bytes, content: bytes) -> None:
        found = self._connection.execute(
            "UPDATE marks SET settled = 1 WHERE NOT settled AND digest = ?4 AND start_us = ?3 AND boot_id = "
            "(SELECT boot_id FROM boots WHERE node = ?1 AND boot = ?2) RETURNING mark",
            (*name, digest),
        ).fetchall()
        if len(found) != 1:
            raise StoreError(f"facts {self._path}: Report {name[2]} of {name[0]} has no place of its own")
        self._connection.execute("INSERT INTO kept VALUES (?, 0, ?)", (found[0][0], content))

    @reading
    def kept(self, from_us: int, to_us: int, node: str | None) -> dict[Booking, bytes]:
        """Return what is kept of the Reports that ended in a range of wall clock."""
        own, parameters = _of(node)
        rows = self._rows(
            "SELECT node, boot, start_us, kept.booking, content "
            "FROM kept JOIN marks USING (mark) JOIN boots USING (boot_id) "
            f"WHERE {own} AND end_unix_us > ? AND end_unix_us <= ?",
            [*parameters, from_us, to_us],
        )
        return {(row[:3], row[3]): row[4] for row in rows}

    @reading
    def kept_marks(self) -> list[Mark]:
        """Return the Reports of which something is kept, oldest first, each booking by itself."""
        own = _MARK.replace("booking", "kept.booking")
        rows = self._rows(
            f"SELECT {own} FROM kept JOIN marks USING (mark) JOIN boots USING (boot_id) "
            "WHERE settled ORDER BY mark, kept.booking"
        )
        return [_mark(row) for row in rows]

    def release(self, names: Sequence[Booking]) -> None:
        """Forget what is kept of Reports; their marks stay."""
        with self._transaction():
            self._connection.executemany(
                "DELETE FROM kept WHERE mark IN (SELECT mark FROM marks JOIN boots USING (boot_id) "
                "WHERE node = ? AND boot = ? AND start_us = ?) AND booking = ?",
                [(*name, booking) for name, booking in names],
            )

    def forget(self, before_us: int) -> None:
        """Forget the Reports that ended before a wall clock."""
        with self._transaction():
            old = "SELECT mark FROM marks WHERE end_unix_us < ?"
            self._connection.execute(f"DELETE FROM kept WHERE mark IN ({old})", (before_us,))
            self._connection.execute("DELETE FROM marks WHERE end_unix_us < ?", (before_us,))

    def close(self) -> None:
        """Let go of the file."""
        with self._using:
            self._connection.close()


def _of(node: str | None, boot_id: str = "boot_id") -> tuple[str, list[Any]]:
    if node is None:
        return "true", []
    return f"{boot_id} IN (SELECT boot_id FROM boots WHERE node = ?)", [node]


def _mark(row: Sequence[Any]) -> Mark:
    columns = list(row)
    if not all(isinstance(value, kind) for value, kind in zip(columns, _KINDS, strict=True)):
        raise ValueError(f"a mark {columns!r}: expected {', '.join(kind.__name__ for kind in _KINDS)}")
    columns[10] = int.from_bytes(columns[10], "big")
    return Mark(*columns)
