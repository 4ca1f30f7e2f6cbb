"""What schedulers told of jobs, in the embedded store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import duckdb

from joulebook.collector.store.scheduled import Scheduled, news

_COLUMNS = (
    "job, known_as, user_name, account, partition_name, name, owner, state, node_count, millicpus, gpus, "
    "gpu_parts, memory_bytes, submit_us, start_us, end_us, exit_status, told_us"
)
_SOME = "WHERE job IN (SELECT unnest(?::VARCHAR[]))"


class ScheduledReads:
    """The reading half's part that schedulers told."""

    if TYPE_CHECKING:

        def _rows(
            self, query: str, parameters: list[Any] | dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]: ...

    def scheduled(self, jobs: Collection[str] | None = None) -> dict[str, Scheduled]:
        """Return what was told of every job, or of those that are named and of which anything was."""
        query = f"SELECT {_COLUMNS} FROM scheduled"
        rows = self._rows(query) if jobs is None else self._rows(f"{query} {_SOME}", [list(jobs)])
        return {job: Scheduled(*said) for job, *said in rows}

    def jobs_known_as(self, known_as: str) -> list[str]:
        """Return the jobs that their scheduler calls so, by name."""
        rows = self._rows("SELECT job FROM scheduled WHERE known_as = ? ORDER BY job", [known_as])
        return [job for (job,) in rows]


class Scheduling:
    """The writing half's part."""

    if TYPE_CHECKING:

        def writing(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]: ...

    def schedule(self, told: Mapping[str, Scheduled]) -> None:
        """Merge what is told of jobs with what is known, durably. Raises StoreError with nothing done."""
        with self.writing() as connection:
            _keep(connection, told)


def _keep(connection: duckdb.DuckDBPyConnection, told: Mapping[str, Scheduled]) -> None:
    asked = [list(told)]
    rows = connection.execute(f"SELECT {_COLUMNS} FROM scheduled {_SOME}", asked).fetchall()
    fresh = news({job: Scheduled(*said) for job, *said in rows}, told)
    if fresh:
        connection.execute(f"DELETE FROM scheduled {_SOME}", [list(fresh)])
        marks = ", ".join("?" * len(_COLUMNS.split()))
        rows = [(job, *astuple(one)) for job, one in fresh.items()]
        connection.executemany(f"INSERT INTO scheduled ({_COLUMNS}) VALUES ({marks})", rows)
