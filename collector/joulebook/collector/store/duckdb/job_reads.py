"""What is asked of the embedded store's jobs: where each was, and which figure of it this is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from joulebook.collector.store.duckdb.connected import among
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.jobs_asked import JobsAsked
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.rows import JobRow, Revision, Superseded
from joulebook.collector.store.settled import Settled

_EVER_US = 1 << 62
_OF_NAMED = "WHERE job IN (SELECT unnest($named::VARCHAR[]))"


class JobReads:
    """The jobs' part of the reading half."""

    if TYPE_CHECKING:

        def _rows(
            self, query: str, parameters: list[Any] | dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]: ...

        def _node_name(self, node_id: int) -> str: ...

        def _numbered(self, table: str, names: Collection[str]) -> dict[int, str]: ...

    def jobs(self, named: Collection[str] | None = None, on: Collection[str] | None = None) -> list[JobRow]:
        """Return every job on every node, or those that are named and on named nodes, by job and node."""
        own, parameters = "WHERE true", dict[str, Any]()
        if named is not None and len(named) == 1:
            own += " AND job = $job"
            (parameters["job"],) = named
        elif named is not None:
            own = _OF_NAMED
            parameters["named"] = list(named)
        if on is not None:
            own += " AND node_id IN (SELECT node_id FROM nodes WHERE node IN (SELECT unnest($on::VARCHAR[])))"
            parameters["on"] = list(on)
        return sorted(self._jobs(own, parameters), key=lambda row: (row.job, row.node))

    def _jobs(self, own: str, parameters: dict[str, Any]) -> Iterator[JobRow]:
        ends: dict[tuple[str, int], tuple[int, int]] = {}
        # What was told last comes last.
        for job, node_id, *end in self._rows(
            f"SELECT job, node_id, end_unix_us, exit_status FROM job_ends {own} "
            "ORDER BY end_unix_us, exit_status",
            parameters,
        ):
            ends[job, node_id] = end[0], end[1]
        for job, node_id, *said in self._rows(
            f"SELECT job, node_id, source, name, user_name, start_unix_us FROM jobs {own}", parameters
        ):
            yield JobRow(job, self._node_name(node_id), *said, *ends.get((job, node_id), (None, None)))

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
        for fact, wanted in (("user_name", asked.user), ("name", asked.name)):
            if wanted is not None:
                where.append(
                    f"job IN (SELECT job FROM jobs ANTI JOIN (FROM scheduled WHERE {fact} <> '') USING (job) "
                    f"WHERE {fact} = ${fact} UNION ALL SELECT job FROM scheduled WHERE {fact} = ${fact})"
                )
                parameters[fact] = wanted
        for fact, wanted in (("account", asked.account), ("partition_name", asked.partition)):
            if wanted is not None:
                where.append(f"job IN (SELECT job FROM scheduled WHERE {fact} = ${fact})")
                parameters[fact] = wanted
        if asked.among is not None:
            where.append("job IN (SELECT unnest($among::VARCHAR[]))")
            parameters["among"] = sorted(asked.among)
        if asked.but:
            where.append("job NOT IN (SELECT unnest($but::VARCHAR[]))")
            parameters["but"] = sorted(asked.but)
        if asked.after is not None:
            where.append("(start_us, job) > ($start_us, $job)")
            parameters |= {"start_us": asked.after[0], "job": asked.after[1]}
        taken = self._rows(
            f"""
            SELECT job FROM (SELECT job, -min(start_unix_us) AS start_us FROM jobs GROUP BY job)
            WHERE {" AND ".join(where)} ORDER BY start_us, job LIMIT $most
            """,
            parameters,
        )
        place = {job: i for i, (job,) in enumerate(taken)}
        found = self._jobs(_OF_NAMED, {"named": list(place)}) if place else ()
        return sorted(found, key=lambda row: (place[row.job], row.node))

    def revisions(self, jobs: Collection[str]) -> dict[str, Revision]:
        """Return the revision of those of some jobs that have another than the first."""
        names = self._numbered("account", [f"job:{job}" for job in jobs])
        found: dict[str, Revision] = {}
        for table, at_us in (("revisions", "revised_unix_us"), ("superseded", "superseded_unix_us")):
            for number, raised, last_us in self._of_accounts(
                f"SELECT account_id, count(*), max({at_us}) FROM {table}", names, "GROUP BY account_id"
            ):
                before = found.get(job := names[number].removeprefix("job:"), Revision(1, last_us))
                found[job] = Revision(before.number + raised, max(before.revised_unix_us, last_us))
        return found

    def superseded(self, jobs: Collection[str]) -> dict[str, list[Superseded]]:
        """Return the figures that booking anew replaced, by revision, of those of some jobs that have any."""
        names = self._numbered("account", [f"job:{job}" for job in jobs])
        figures = "account_id, revision, energy_uj, systematic_uj, variance_uj2, superseded_unix_us"
        found: dict[str, list[Superseded]] = {}
        for number, *was in self._of_accounts(
            f"SELECT {figures} FROM superseded", names, "ORDER BY account_id, revision"
        ):
            found.setdefault(names[number].removeprefix("job:"), []).append(Superseded(*was))
        return found

    def _of_accounts(self, asked: str, numbers: Collection[int], rest: str) -> list[tuple[Any, ...]]:
        """Ask of some accounts."""
        if not numbers:
            return []
        own, parameters = among("account_id", numbers)
        return self._rows(f"{asked} WHERE {own} {rest}", parameters)

    def settled(self, within: Range, nodes: Collection[str]) -> Settled:  # noqa: ARG002
        """Return up to when Reports are booked with what their hours tell together; later ones aside."""
        # A block of which not all is booked anew is waited for on every node: that takes no minute.
        ((blocks_us,),) = self._rows(
            f"SELECT coalesce(min(hour) * {HOUR_US}, {_EVER_US}) FROM blocks WHERE has_raw AND NOT rebooked"
        )
        waiting = self._rows(
            f"""
            SELECT node_id, min(end_unix_us) FROM intervals
            WHERE NOT is_gap AND end_unix_us <= {within.to_us}
                AND interval_id NOT IN (SELECT interval_id FROM rebooked_alone) GROUP BY node_id
            """
        )
        return Settled(blocks_us, {self._node_name(node): since_us for node, since_us in waiting})
