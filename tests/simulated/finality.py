"""Which jobs' figures are final, worked out anew from every Report that is stored."""

from collections.abc import Iterable

from joulebook.collector.ingest.decode import Decoded


def final_jobs(stored: Iterable[Decoded]) -> set[str]:
    """Return the jobs that were somewhere and run nowhere: ended, or not in their node's newest Report."""
    newest: dict[str, Decoded] = {}
    known: set[str] = set()
    ended: set[tuple[str, str]] = set()
    for one in stored:
        known.update(one.readings.layout.jobs)
        ended.update((one.node, end.workload_id) for end in one.ended)
        if one.node not in newest or _end(one) > _end(newest[one.node]):
            newest[one.node] = one
    running = {
        job for one in newest.values() for job in one.readings.layout.jobs if (one.node, job) not in ended
    }
    return known - running


def _end(one: Decoded) -> tuple[int, int]:
    return one.end_us + one.realtime_offset_us, one.end_us
