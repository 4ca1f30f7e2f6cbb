"""Which jobs' figures are final, worked out anew from every Report that is stored."""

from collections.abc import Iterable

from joulebook.collector.ingest.decode import Decoded
from joulebook.v1 import report_pb2
from joulebook.v1.naming import job_of


def final_jobs(stored: Iterable[Decoded]) -> set[str]:
    """Return the jobs that were somewhere and run nowhere: ended, or not in their node's newest Report.

    One that began again after the last end that was told runs.
    """
    newest: dict[str, Decoded] = {}
    known: set[str] = set()
    ended_us: dict[tuple[str, str], int] = {}
    for one in stored:
        known.update(one.readings.layout.jobs)
        for end in one.ended:
            key = (one.node, end.workload_id)
            ended_us[key] = max(ended_us.get(key, 0), end.end_unix_us)
        if one.node not in newest or _end(one) > _end(newest[one.node]):
            newest[one.node] = one
    running = {
        job_of(w)
        for one in newest.values()
        for w in one.readings.layout.message.workloads
        if w.kind == report_pb2.WORKLOAD_KIND_JOB
        and ((one.node, job_of(w)) not in ended_us or 0 < ended_us[one.node, job_of(w)] <= w.start_unix_us)
    }
    return known - running


def _end(one: Decoded) -> tuple[int, int]:
    return one.end_us + one.realtime_offset_us, one.end_us
