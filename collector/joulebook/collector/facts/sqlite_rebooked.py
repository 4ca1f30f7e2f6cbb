"""Reports that are booked anew, in a SQLite file: which of their rows count, and which figures went."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from joulebook.collector.facts.mark import Name
from joulebook.collector.facts.protocol import Rebooked
from joulebook.collector.facts.sqlite_told import one_of
from joulebook.collector.store.garbled import reading
from joulebook.collector.store.rows import Superseded
from joulebook.collector.store.settled import Settled

HOUR_US = 3_600_000_000
_EVER_US = 1 << 62
# kept: what a server took and may lose yet, until it is seen to be there for good; of a Report's booking 0
# all of it, of others the rows. Figures are texts: a variance may be beyond 63 bits.
TABLES = """
CREATE TABLE kept (
    mark INTEGER NOT NULL, booking INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (mark, booking));
CREATE INDEX marks_due ON marks (boot_id, end_unix_us) WHERE settled AND NOT rebooked;
CREATE TABLE rebooked_hours (hour INTEGER PRIMARY KEY, policy TEXT NOT NULL);
CREATE TABLE superseded (
    job TEXT NOT NULL, change INTEGER NOT NULL, revision INTEGER NOT NULL, energy_uj TEXT NOT NULL,
    systematic_uj TEXT NOT NULL, variance_uj2 TEXT NOT NULL, until_unix_us INTEGER NOT NULL,
    PRIMARY KEY (job, change)) WITHOUT ROWID;
"""
STEP = f"""
ALTER TABLE marks ADD COLUMN booking INTEGER NOT NULL DEFAULT 0;
ALTER TABLE marks ADD COLUMN booking_taken INTEGER NOT NULL DEFAULT 0;
ALTER TABLE marks ADD COLUMN rebooked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE revisions ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
ALTER TABLE kept RENAME TO kept_whole;
{TABLES}
INSERT INTO kept SELECT mark, 0, content FROM kept_whole;
DROP TABLE kept_whole;
"""
_NUMBER = (
    "(SELECT mark FROM marks WHERE settled AND start_us = ?3 "
    "AND boot_id = (SELECT boot_id FROM boots WHERE node = ?1 AND boot = ?2))"
)


class RebookedFacts:
    """Keeps it, and tells. Changes are what alters figures that were final, numbered in their order."""

    # The number of the newest change.
    _change: int

    if TYPE_CHECKING:
        _connection: sqlite3.Connection

        @property
        def place(self) -> str: ...

        def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]: ...

        def _transaction(self) -> AbstractContextManager[None]: ...

    def changes(self) -> int:
        """Return the number of the newest change."""
        return self._change

    def _read_changes(self) -> None:
        self._change = max(
            self._rows(f"SELECT coalesce(max(change), 0) FROM {table}")[0][0]
            for table in ("revisions", "superseded")
        )

    @reading
    def superseded(self, jobs: Collection[str], upto: int | None = None) -> dict[str, list[Superseded]]:
        """Return the figures that booking anew replaced, by revision, of those of some jobs that have any."""
        own, parameters = one_of("job", jobs)
        query = (
            "SELECT job, revision, energy_uj, systematic_uj, variance_uj2, until_unix_us FROM superseded "
            f"WHERE {own} AND change <= ? ORDER BY job, change"
        )
        found: dict[str, list[Superseded]] = defaultdict(list)
        for job, number, energy, systematic, variance, until_us in self._rows(
            query, [*parameters, _upto(upto)]
        ):
            figure = Superseded(number, int(energy), int(systematic), int(variance), until_us)
            found[job].append(figure)
        return dict(found)

    @reading
    def settled(self) -> Settled:
        """Return up to when Reports are booked with what their hours tell together."""
        first = "SELECT min(end_unix_us) FROM marks WHERE settled AND NOT rebooked AND boot_id = b.boot_id"
        waiting: dict[str, int] = {}
        for node, since_us in self._rows(f"SELECT node, ({first}) FROM boots AS b"):
            if since_us is not None:
                waiting[node] = min(since_us, waiting.get(node, since_us))
        return Settled(_EVER_US, waiting)

    @reading
    def due(self, after_us: int, before_us: int) -> dict[int, dict[str, int]]:
        """Return the hours of a range of wall clock, and the nodes, of which not all is booked anew.

        With how many Reports each node has in the hour.
        """
        hour = f"(end_unix_us - 1) / {HOUR_US}"
        query = (
            # From each boot to what is due of it: most marks are not.
            f"SELECT DISTINCT {hour}, node FROM boots CROSS JOIN marks USING (boot_id) "
            "WHERE settled AND NOT rebooked AND end_unix_us > ? AND end_unix_us <= ? ORDER BY 1, 2"
        )
        found: dict[int, dict[str, int]] = {}
        for number, node in self._rows(query, [after_us, before_us]):
            ((count,),) = self._rows(
                "SELECT count(*) FROM marks WHERE settled AND end_unix_us > ? AND end_unix_us <= ? "
                "AND boot_id IN (SELECT boot_id FROM boots WHERE node = ?)",
                [number * HOUR_US, (number + 1) * HOUR_US, node],
            )
            found.setdefault(number, {})[node] = count
        return found

    def policy_of(self, hour: int) -> str | None:
        """Return by which policy an hour was booked anew, None where it was not."""
        found = self._rows("SELECT policy FROM rebooked_hours WHERE hour = ?", [hour])
        return found[0][0] if found else None

    def take_booking(self, names: Sequence[Name]) -> int:
        """Return a number that no booking of some Reports ever had; durable when this returns."""
        with self._transaction():
            taken = [
                self._connection.execute(
                    f"SELECT booking_taken FROM marks WHERE mark = {_NUMBER}", name
                ).fetchone()
                for name in names
            ]
            booking = 1 + max((row[0] for row in taken if row), default=0)
            self._connection.executemany(
                f"UPDATE marks SET booking_taken = {booking} WHERE mark = {_NUMBER}", names
            )
        return booking

    def rebook(self, anew: Rebooked) -> None:
        """Have other rows of Reports count, in one transaction with what is kept of them."""
        run = self._connection.executemany
        with self._transaction():
            self._change += 1
            run(f"UPDATE marks SET rebooked = 1 WHERE mark = {_NUMBER}", anew.names)
            run(f"UPDATE marks SET booking = {anew.booking} WHERE mark = {_NUMBER}", list(anew.rows))
            run(
                f"INSERT INTO kept SELECT mark, {anew.booking}, ?4 FROM (SELECT {_NUMBER} AS mark) "
                "WHERE mark IS NOT NULL",
                [(*name, content) for name, content in anew.rows.items()],
            )
            run(
                "INSERT INTO superseded VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(job, self._change, was.revision),
                        *map(str, (was.energy_uj, was.systematic_uj, was.variance_uj2)),
                        was.until_unix_us,
                    )
                    for job, was in anew.superseded.items()
                ],
            )
            self._connection.execute(
                "INSERT OR REPLACE INTO rebooked_hours VALUES (?, ?)", (anew.hour, anew.policy)
            )


def _upto(change: int | None) -> int:
    return _EVER_US if change is None else change
