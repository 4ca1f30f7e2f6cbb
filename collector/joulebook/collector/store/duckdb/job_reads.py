"""What is asked of the embedded store's jobs: where each was, and which figure of it this is."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.jobs_asked import JobsAsked
from joulebook.collector.store.protocol import JobRow, Revision, Superseded
from joulebook.collector.store.settled import Settled

_EVER_US = 1 << 62
# When a job ended on a node: what was told last.
_ENDS = """
    SELECT job, node_id, max(end_unix_us) AS end_unix_us, arg_max(exit_status, end_unix_us) AS exit_status
    FROM job_ends"""
_NAMES = "job, node, source, name, user_name, start_unix_us, e.end_unix_us, e.exit_status"


class JobReads:
    """The jobs' part of the reading half."""

    if TYPE_CHECKING:

        def _rows(
            self, query: str, parameters: list[Any] | dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]: ...

        def _node_name(self, node_id: int) -> str: ...

    def jobs(self, named: Collection[str] | None = None, on: Collection[str] | None = None) -> list[JobRow]:
        """Return every job on every node, or those that are named and on named nodes, by job and node."""
        own, parameters = "WHERE true", dict[str, Any]()
        if named is not None and len(named) == 1:
            own += " AND job = $job"
            (parameters["job"],) = named
        elif named is not None:
            own += " AND job IN (SELECT unnest($named::VARCHAR[]))"
            parameters["named"] = list(named)
        if on is not None:
            own += " AND node_id IN (SELECT node_id FROM nodes WHERE node IN (SELECT unnest($on::VARCHAR[])))"
            parameters["on"] = list(on)
        ends: dict[tuple[str, int], tuple[int, int]] = {}
        for job, node_id, *end in self._rows(
            f"SELECT job, node_id, end_unix_us, exit_status FROM job_ends {own}", parameters
        ):
            # What was told last.
            ends[job, node_id] = max(ends.get((job, node_id), (0, 0)), (end[0], end[1]))
        rows = [
            JobRow(job, self._node_name(node_id), *said, *ends.get((job, node_id), (None, None)))
            for job, node_id, *said in self._rows(
                f"SELECT job, node_id, source, name, user_name, start_unix_us FROM jobs {own}", parameters
            )
        ]
        return sorted(rows, key=lambda row: (row.job, row.node))

    def open_jobs(self) -> list[tuple[str, str]]:
        """Return (node, job) of whose end nothing was told."""
        return self._rows(
            "SELECT node, job FROM jobs ANTI JOIN job_ends USING (job, node_id) JOIN nodes USING (node_id)"
        )

    def newest_jobs(self, asked: JobsAsked) -> list[JobRow]:
        """Return some jobs on all of their nodes, in order of the jobs; a job began where it did first."""
        where = ["true"]
        parameters: dict[str, Any] = {"most": asked.most}
        if asked.node is not None:
            where.append("job IN (SELECT job FROM jobs JOIN nodes USING (node_id) WHERE node = $node)")
            parameters["node"] = asked.node
        if asked.user is not None:
            where.append(
                "job IN (SELECT job FROM jobs ANTI JOIN (FROM scheduled WHERE user_name <> '') USING (job) "
                "WHERE user_name = $user UNION ALL SELECT job FROM scheduled WHERE user_name = $user)"
            )
            parameters["user"] = asked.user
        if asked.account is not None:
            where.append("job IN (SELECT job FROM scheduled WHERE account = $account)")
            parameters["account"] = asked.account
        if asked.among is not None:
            where.append("job IN (SELECT unnest($among::VARCHAR[]))")
            parameters["among"] = sorted(asked.among)
        if asked.but:
            where.append("job NOT IN (SELECT unnest($but::VARCHAR[]))")
            parameters["but"] = sorted(asked.but)
        if asked.after is not None:
            where.append("(start_us, job) > ($start_us, $job)")
            parameters |= {"start_us": asked.after[0], "job": asked.after[1]}
        rows = self._rows(
            f"""
            WITH taken AS (
                SELECT * FROM (SELECT job, -min(start_unix_us) AS start_us FROM jobs GROUP BY job)
                WHERE {" AND ".join(where)} ORDER BY start_us, job LIMIT $most)
            SELECT {_NAMES} FROM jobs JOIN taken USING (job) JOIN nodes USING (node_id)
            LEFT JOIN ({_ENDS} SEMI JOIN taken USING (job) GROUP BY ALL) AS e USING (job, node_id)
            ORDER BY start_us, job, node
            """,
            parameters,
        )
        return [JobRow(*row) for row in rows]

    def revisions(self, jobs: Collection[str]) -> dict[str, Revision]:
        """Return the revision of those of some jobs that have another than the first."""
        rows = self._rows(
            """
            SELECT account, 1 + number, revised_unix_us FROM (
                SELECT account_id, count(*) AS number, max(revised_unix_us) AS revised_unix_us FROM (
                    SELECT account_id, revised_unix_us FROM revisions
                    UNION ALL SELECT account_id, superseded_unix_us FROM superseded)
                GROUP BY account_id)
            JOIN (FROM accounts WHERE account IN (SELECT unnest($1::VARCHAR[]))) USING (account_id)
            """,
            [[f"job:{job}" for job in jobs]],
        )
        return {account.removeprefix("job:"): Revision(number, at_us) for account, number, at_us in rows}

    def superseded(self, jobs: Collection[str]) -> dict[str, list[Superseded]]:
        """Return the figures that booking anew replaced, by revision, of those of some jobs that have any."""
        found: dict[str, list[Superseded]] = {}
        for account, *figures in self._rows(
            """
            SELECT account, revision, energy_uj, systematic_uj, variance_uj2, superseded_unix_us
            FROM superseded JOIN (FROM accounts WHERE account IN (SELECT unnest($1::VARCHAR[])))
                USING (account_id) ORDER BY account, revision
            """,
            [[f"job:{job}" for job in jobs]],
        ):
            found.setdefault(account.removeprefix("job:"), []).append(Superseded(*figures))
        return found

    def settled(self) -> Settled:
        """Return up to when Reports are booked with what their hours tell together."""
        # A block of which not all is booked anew is waited for on every node: that takes no minute.
        ((until_us,),) = self._rows(
            f"SELECT coalesce(min(hour) * {HOUR_US}, {_EVER_US}) FROM blocks WHERE has_raw AND NOT rebooked"
        )
        waiting = self._rows(
            """
            SELECT node_id, min(end_unix_us) FROM intervals
            WHERE NOT is_gap AND interval_id NOT IN (SELECT interval_id FROM rebooked_alone) GROUP BY node_id
            """
        )
        return Settled(until_us, {self._node_name(node): since_us for node, since_us in waiting})
