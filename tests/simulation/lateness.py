"""What raises a job's revision: worked out anew, at every commit, from all that is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.store.protocol import Commit
from joulebook.collector.store.rows import JobRow, NodeRow, Places
from tests.simulated.finality import final_jobs
from tests.simulation.stored import Stored


def places_of(
    stored: Iterable[Decoded], nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]
) -> Places:
    """Return where jobs are and were, and the newest Reports of nodes, as a store tells them."""
    newest: dict[str, Decoded] = {}
    rows: dict[tuple[str, str], None] = {}
    ends: dict[tuple[str, str], int] = {}
    for one in stored:
        for job in one.readings.layout.jobs:
            rows.setdefault((job, one.node))
        for end in one.ended:
            key = (end.workload_id, one.node)
            ends[key] = max(ends.get(key, 0), end.end_unix_us)
        if one.node not in newest or _end(one) > _end(newest[one.node]):
            newest[one.node] = one
    found = [
        JobRow(job, node, "", "", "", 0, ends.get((job, node)), None)
        for job, node in sorted(rows)
        if job in everywhere or (job in jobs and node in nodes)
    ]
    asked = {*nodes, *(row.node for row in found)}
    told = [newest[node] for node in sorted(asked & newest.keys())]
    return Places(found, [NodeRow(d.node, d.readings.layout, d.boot, _end(d)[0]) for d in told])


def _end(one: Decoded) -> tuple[int, int]:
    return one.end_us + one.realtime_offset_us, one.end_us


def wrong_lateness(before: Sequence[Stored], commit: Commit) -> list[str]:
    """Say where a commit raises another revision than what was stored before it tells."""
    final = final_jobs(one.decoded for one in before)
    expected = Counter(
        (report, account)
        for report, account in zip(commit.books.report.tolist(), commit.books.account, strict=True)
        if account.removeprefix("job:") in final and account.startswith("job:")
    )
    if Counter(commit.late) == expected:
        return []
    return [f"late are {sorted(commit.late)}, expected {sorted(expected)}"]


def revisions_of(stored: Iterable[Stored]) -> dict[str, int]:
    """Return the revision of each job that has another than the first."""
    late = Counter(account.removeprefix("job:") for one in stored for account in one.late)
    return {job: 1 + count for job, count in late.items()}
