"""How things are named on the wire."""

from __future__ import annotations

import hashlib

from joulebook.v1 import report_pb2

# A Report's wall_clock is at most this: it becomes part of series' names.
MAX_WALL_CLOCK = 255


def layout_hash(serialized: bytes) -> int:
    """Return the name of a Layout: BLAKE2b-64 of its bytes, big endian."""
    return int.from_bytes(hashlib.blake2b(serialized, digest_size=8).digest(), "big")


def job_of(workload: report_pb2.Workload) -> str:
    """Return the job that a workload of kind job is, or is a part of."""
    return workload.job or workload.id


def jobs_of(layout: report_pb2.Layout) -> list[str]:
    """Return every job that a Layout names, once, in order of their names."""
    return sorted({job_of(w) for w in layout.workloads if w.kind == report_pb2.WORKLOAD_KIND_JOB})
