"""Whether a job is still where it was."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from joulebook.collector.store.protocol import JobRow, NodeRow, Places, StoreView

# By node and job.
Present = frozenset[tuple[str, str]]


def present(nodes: Iterable[NodeRow]) -> Present:
    """Return the jobs that nodes' newest Reports tell of."""
    return frozenset((row.node, job) for row in nodes for job in row.layout.jobs)


def is_running(row: JobRow, there: Present) -> bool:
    """Say whether a job runs on a node: nobody said that it ended, and the node still tells of it."""
    return row.end_unix_us is None and (row.node, row.job) in there


def places(
    view: StoreView, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]
) -> Places:
    """Ask a view what nodes' newest Reports say, where jobs are and were of these, and some everywhere."""
    rows = view.jobs(everywhere) if everywhere else []
    if here := set(jobs).difference(everywhere):
        rows += view.jobs(here, nodes)
    return Places(rows, view.nodes({*nodes, *(row.node for row in rows if row.end_unix_us is None)}))
