"""What Reports told beside readings, in a SQLite file: layouts, jobs and their revisions, sources."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from joulebook.collector.facts.protocol import SourceState, Told
from joulebook.collector.store.rows import JobRow, Revision


class ToldReads:
    """What is asked of it."""

    if TYPE_CHECKING:

        def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]: ...

    def layout(self, node: str, hash_: int) -> bytes | None:
        """Return a layout's bytes."""
        asked = (node, hash_.to_bytes(8, "big"))
        found = self._rows("SELECT serialized FROM layouts WHERE node = ? AND hash = ?", asked)
        return found[0][0] if found else None

    def jobs(self, named: Collection[str] | None, on: Collection[str] | None) -> list[JobRow]:
        """Return every job on every node, or those that are named and on named nodes, by job and node."""
        columns = "job, node, source, name, user_name, start_unix_us, end_unix_us, exit_status"
        (own, parameters), (there, nodes) = one_of("job", named), one_of("node", on)
        query = (
            f"SELECT {columns} FROM jobs LEFT JOIN job_ends USING (job, node) WHERE {own} AND {there} "
            "ORDER BY job, node"
        )
        return [JobRow(*row) for row in self._rows(query, [*parameters, *nodes])]

    def revisions(self, jobs: Collection[str], upto: int | None = None) -> dict[str, Revision]:
        """Return the revision of those of some jobs that have another than the first.

        upto: as of a change. A Report that came late, and each time that figures were booked anew, raise it.
        """
        own, parameters = one_of("job", jobs)
        known = [*parameters, (1 << 62) if upto is None else upto]
        query = (
            "SELECT job, 1 + count(*), max(at_us) FROM ("
            f"SELECT job, revised_unix_us AS at_us FROM revisions WHERE {own} AND change <= ? "
            f"UNION ALL SELECT job, until_unix_us FROM superseded WHERE {own} AND change <= ?) GROUP BY job"
        )
        return {job: Revision(number, at_us) for job, number, at_us in self._rows(query, known * 2)}

    def sources(self, nodes: Collection[str] | None) -> dict[str, dict[str, SourceState]]:
        """Return what each node's sources, or those of some nodes, said last, by name."""
        found: dict[str, dict[str, SourceState]] = defaultdict(dict)
        own, parameters = one_of("node", nodes)
        query = f"SELECT node, name, state, reason, fix FROM sources WHERE {own}"
        for node, name, *said in self._rows(query, parameters):
            found[node][name] = (said[0], said[1], said[2])
        return found


def tell(connection: sqlite3.Connection, told: Told, change: int) -> None:
    """Keep what Reports told, in the caller's transaction, which is that change."""
    hashes = [(node, hash_.to_bytes(8, "big"), content) for node, hash_, content in told.layouts]
    jobs = [(j.job, j.node, j.source, j.name, j.user, j.start_unix_us) for j in told.jobs]
    sources = [(*of, *said) for of, said in (told.sources or {}).items()]
    revisions = [(job, *name, unix_us, change) for job, name, unix_us in told.revisions]
    run = connection.executemany
    run("INSERT OR IGNORE INTO layouts VALUES (?, ?, ?)", hashes)
    run(
        "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "name = iif(name = '', excluded.name, name), "
        "user_name = iif(user_name = '', excluded.user_name, user_name)",
        jobs,
    )
    run(
        "INSERT INTO job_ends VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "end_unix_us = excluded.end_unix_us, exit_status = excluded.exit_status "
        "WHERE excluded.end_unix_us > end_unix_us",
        told.ends,
    )
    run("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?)", sources)
    run("INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?)", revisions)


def one_of(column: str, names: Collection[str] | None) -> tuple[str, list[Any]]:
    """Return the condition that a column is one of some names, or anything, and its parameters."""
    if names is None:
        return "true", []
    return f"{column} IN (SELECT value FROM json_each(?))", [json.dumps(list(names))]
