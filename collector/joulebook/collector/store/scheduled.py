"""What schedulers tell of jobs: never needed to book energy, and taken whenever it comes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What a scheduler told of a job; "" and None: it did not.

    known_as is the scheduler's own name of the job where that is another one: 1234_7, 1234+1; owner is what
    made the job, and may make others: Deployment/web. gpu_parts has what it was given of GPUs that are
    divided, in the scheduler's words: mig-1g.10gb:2. Times are the scheduler's, told_us is when the collector
    heard of it last; all in µs of the wall clock.
    """

    known_as: str = ""
    user: str = ""
    account: str = ""
    partition: str = ""
    name: str = ""
    owner: str = ""
    state: str = ""
    node_count: int | None = None
    millicpus: int | None = None
    gpus: int | None = None
    gpu_parts: str = ""
    memory_bytes: int | None = None
    submit_us: int | None = None
    start_us: int | None = None
    end_us: int | None = None
    exit_status: int | None = None
    told_us: int = 0


NAMES = tuple(field.name for field in fields(Scheduled))


def merged(known: Scheduled | None, told: Scheduled) -> Scheduled:
    """Return what is known once more is told: the last word of each fact counts, and silence takes none back.

    Words overtake each other. One of a start without an end is of an earlier time where the end is known
    already, and of another run of the job where it starts after that end.
    """
    if known is None:
        return told
    if told.start_us is not None and told.end_us is None and known.end_us is not None:
        if told.start_us >= known.end_us:
            known = replace(known, end_us=None, exit_status=None)
        else:
            told = replace(told, state="", exit_status=None)
    said = {name: value for name in NAMES if (value := getattr(told, name)) not in ("", None)}
    return replace(known, **said)


def news(known: Mapping[str, Scheduled], told: Mapping[str, Scheduled]) -> dict[str, Scheduled]:
    """Return what is known of those jobs then of which something was told that was not known."""
    found = {job: merged(known.get(job), one) for job, one in told.items()}
    return {
        job: one
        for job, one in found.items()
        if (before := known.get(job)) is None or replace(before, told_us=one.told_us) != one
    }


class ScheduledView(Protocol):
    """What is asked."""

    def scheduled(self, jobs: Collection[str] | None = None) -> dict[str, Scheduled]:
        """Return what was told of every job, or of those that are named and of which anything was."""

    def jobs_known_as(self, known_as: str) -> list[str]:
        """Return the jobs that their scheduler calls so, by name."""


class ScheduledKeeper(Protocol):
    """What keeps it, whether anything is booked to a job, ever was, or ever will be."""

    def schedule(self, told: Mapping[str, Scheduled]) -> None:
        """Merge what is told of jobs with what is known, durably. Raises StoreError with nothing done."""
