"""What schedulers told of jobs, in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from joulebook.collector.facts.sqlite_told import one_of
from joulebook.collector.store.scheduled import Scheduled, news

_COLUMNS = (
    "job, known_as, user_name, account, partition_name, name, owner, state, node_count, millicpus, gpus, "
    "gpu_parts, memory_bytes, submit_us, start_us, end_us, exit_status, told_us"
)
TABLE = """
CREATE TABLE scheduled (
    job TEXT PRIMARY KEY, known_as TEXT NOT NULL, user_name TEXT NOT NULL, account TEXT NOT NULL,
    partition_name TEXT NOT NULL, name TEXT NOT NULL, owner TEXT NOT NULL, state TEXT NOT NULL,
    node_count INTEGER, millicpus INTEGER, gpus INTEGER, gpu_parts TEXT NOT NULL, memory_bytes INTEGER,
    submit_us INTEGER, start_us INTEGER, end_us INTEGER, exit_status INTEGER,
    told_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX scheduled_by_known_as ON scheduled (known_as);
"""

# As version 3 had it, and what makes it the table above.
TABLE_3 = """
CREATE TABLE scheduled (
    job TEXT PRIMARY KEY, known_as TEXT NOT NULL, user_name TEXT NOT NULL, account TEXT NOT NULL,
    partition_name TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, node_count INTEGER, cpus INTEGER,
    gpus INTEGER, memory_bytes INTEGER, submit_us INTEGER, start_us INTEGER, end_us INTEGER,
    exit_status INTEGER, told_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX scheduled_by_known_as ON scheduled (known_as);
"""
OWNERS = f"""
DROP INDEX scheduled_by_known_as;
ALTER TABLE scheduled RENAME TO scheduled_before;
{TABLE}
INSERT INTO scheduled
SELECT job, known_as, user_name, account, partition_name, name, '', state, node_count, cpus * 1000, gpus, '',
    memory_bytes, submit_us, start_us, end_us, exit_status, told_us FROM scheduled_before;
DROP TABLE scheduled_before;
"""


class ScheduledFacts:
    """Keeps it, and tells."""

    if TYPE_CHECKING:
        _connection: sqlite3.Connection

        def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]: ...

        def _transaction(self) -> AbstractContextManager[None]: ...

    def scheduled(self, jobs: Collection[str] | None = None) -> dict[str, Scheduled]:
        """Return what was told of every job, or of those that are named and of which anything was."""
        own, parameters = one_of("job", jobs)
        rows = self._rows(f"SELECT {_COLUMNS} FROM scheduled WHERE {own}", parameters)
        return {job: Scheduled(*said) for job, *said in rows}

    def jobs_known_as(self, known_as: str) -> list[str]:
        """Return the jobs that their scheduler calls so, by name."""
        rows = self._rows("SELECT job FROM scheduled WHERE known_as = ? ORDER BY job", [known_as])
        return [job for (job,) in rows]

    def schedule(self, told: Mapping[str, Scheduled]) -> None:
        """Merge what is told of jobs with what is known, durably. Raises StoreError with nothing done."""
        with self._transaction():
            fresh = news(self.scheduled(list(told)), told)
            marks = ", ".join("?" * len(_COLUMNS.split()))
            self._connection.executemany(
                f"INSERT OR REPLACE INTO scheduled ({_COLUMNS}) VALUES ({marks})",
                [(job, *astuple(one)) for job, one in fresh.items()],
            )
