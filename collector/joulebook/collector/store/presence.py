"""Whether a job is still where it was."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from joulebook.collector.store.protocol import StoreView
from joulebook.collector.store.rows import JobRow, NodeRow, Places

# When the life began that is there now, by node and job; 0: it is not known.
Present = Mapping[tuple[str, str], int]


def present(nodes: Iterable[NodeRow]) -> Present:
    """Return the jobs that nodes' newest Reports tell of."""
    return {(row.node, job): start_us for row in nodes for job, start_us in row.layout.job_starts.items()}


def is_running(row: JobRow, there: Present) -> bool:
    """Say whether a job runs on a node: the node still tells of it, and of this life's end nobody did."""
    start_us = there.get((row.node, row.job))
    return start_us is not None and goes_on(start_us, row.end_unix_us)


def goes_on(start_us: int, end_unix_us: int | None) -> bool:
    """Say whether a life goes on, when this is the last end that was told of the job on its node.

    An end is of another life where this one began after it: who logs in again, what is requeued. Of a start
    or an end of 0 nothing is known.
    """
    return end_unix_us is None or 0 < end_unix_us <= start_us


def running_jobs(view: StoreView) -> set[str]:
    """Return the jobs that run anywhere."""
    there = present(view.nodes(sources=False))
    open_ = there.keys() & {*view.open_jobs()}
    running = {job for _, job in open_}
    # An end was told, of this life or of one before; that is so of few.
    if others := {job for _, job in there.keys() - open_} - running:
        running |= {row.job for row in view.jobs(others) if is_running(row, there)}
    return running


def places(
    view: StoreView, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]
) -> Places:
    """Ask a view what nodes' newest Reports say, where jobs are and were of these, and some everywhere."""
    rows = view.jobs(everywhere) if everywhere else []
    if here := set(jobs).difference(everywhere):
        rows += view.jobs(here, nodes)
    return Places(rows, view.nodes({*nodes, *(row.node for row in rows)}, sources=False))
