"""What is asked of the embedded store's jobs: where each was, and which figure of it this is."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from joulebook.collector.store.protocol import JobRow, Revision


class JobReads:
    """The jobs' part of the reading half."""

    if TYPE_CHECKING:

        def _rows(
            self, query: str, parameters: list[Any] | dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]: ...

    def jobs(self, named: Collection[str] | None = None, on: Collection[str] | None = None) -> list[JobRow]:
        """Return every job on every node, or those that are named and on named nodes, by job and node."""
        own = "WHERE true"
        if named is not None:
            own += " AND job IN (SELECT unnest($named))"
        if on is not None:
            own += " AND node_id IN (SELECT node_id FROM nodes WHERE node IN (SELECT unnest($on)))"
        given = {"named": named, "on": on}
        rows = self._rows(
            f"""
            SELECT job, node, source, name, user_name, start_unix_us, e.end_unix_us, e.exit_status
            FROM (FROM jobs {own}) JOIN nodes USING (node_id) LEFT JOIN (
                SELECT job, node_id, max(end_unix_us) AS end_unix_us,
                       arg_max(exit_status, end_unix_us) AS exit_status
                FROM job_ends {own} GROUP BY ALL) AS e USING (job, node_id)
            ORDER BY job, node
            """,
            {name: list(names) for name, names in given.items() if names is not None},
        )
        return [JobRow(*row) for row in rows]

    def revisions(self, jobs: Collection[str]) -> dict[str, Revision]:
        """Return the revision of those of some jobs that have another than the first."""
        rows = self._rows(
            """
            SELECT account, 1 + count(*), max(revised_unix_us) FROM revisions JOIN accounts USING (account_id)
            WHERE account IN (SELECT unnest($1)) GROUP BY account
            """,
            [[f"job:{job}" for job in jobs]],
        )
        return {account.removeprefix("job:"): Revision(number, at_us) for account, number, at_us in rows}
