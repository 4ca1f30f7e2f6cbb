"""Questions about some jobs and nodes, for a store that can only tell them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

from joulebook.collector.store.jobs_asked import JobsAsked
from joulebook.collector.store.kept import BooksKept
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.rows import AccountRow, JobRow, NodeRow
from joulebook.collector.store.scheduled import Scheduled


class PickedReads:
    """Picks out of all; what is there, is there row by row."""

    if TYPE_CHECKING:

        def jobs(self, named: Collection[str] | None = None) -> list[JobRow]: ...

        def scheduled(self, jobs: Collection[str] | None = None) -> dict[str, Scheduled]: ...

        def nodes(self, named: Collection[str] | None = None, *, sources: bool = True) -> list[NodeRow]: ...

        def accounts(self, selected: Range) -> list[AccountRow]: ...

    def books_kept(self) -> BooksKept:
        """Return how fine the books are known: all that there are, interval by interval."""
        return BooksKept()

    def energies(self, selected: Range) -> list[tuple[str, str, int]]:
        """Return (account, node, µJ) of what each account received on each node."""
        return [
            (row.account, row.node, sum(row.active_uj) + sum(row.idle_uj)) for row in self.accounts(selected)
        ]

    def booked_uj(self, selected: Range) -> dict[str, int]:
        """Return what all accounts of each node received together."""
        booked: dict[str, int] = defaultdict(int)
        for row in self.accounts(selected):
            booked[row.node] += sum(row.active_uj) + sum(row.idle_uj)
        return booked

    def all_booked_uj(self, selected: Range) -> int:
        """Return what all accounts of all nodes of a range received together."""
        return sum(self.booked_uj(selected).values())

    def node_names(self) -> list[str]:
        """Return the name of every node."""
        return [row.node for row in self.nodes(sources=False)]

    def open_jobs(self) -> list[tuple[str, str]]:
        """Return (node, job) of whose end nothing was told."""
        return [(row.node, row.job) for row in self.jobs() if row.end_unix_us is None]

    def newest_jobs(self, asked: JobsAsked) -> list[JobRow]:
        """Return some jobs on all of their nodes, in order of the jobs; a job began where it did first."""
        by_job: dict[str, list[JobRow]] = defaultdict(list)
        for row in self.jobs():
            by_job[row.job].append(row)
        of_scheduler = (asked.user, asked.account, asked.partition, asked.name)
        told = self.scheduled() if any(one is not None for one in of_scheduler) else {}
        nothing = Scheduled()
        places = sorted(
            (-min(row.start_unix_us for row in rows), job)
            for job, rows in by_job.items()
            if (asked.node is None or any(row.node == asked.node for row in rows))
            and (
                asked.user is None
                or asked.user in ({told.get(job, nothing).user} - {""} or {row.user for row in rows})
            )
            and (
                asked.name is None
                or asked.name in ({told.get(job, nothing).name} - {""} or {row.name for row in rows})
            )
            and (asked.account is None or told.get(job, nothing).account == asked.account)
            and (asked.partition is None or told.get(job, nothing).partition == asked.partition)
            and (asked.among is None or job in asked.among)
            and job not in asked.but
        )
        taken = [place for place in places if asked.after is None or place > asked.after][: asked.most]
        return [row for _, job in taken for row in by_job[job]]
