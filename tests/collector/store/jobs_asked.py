"""Questions about some jobs, and who answers them from a list of all."""

from collections.abc import Collection, Iterator
from random import Random

from joulebook.collector.store.jobs_asked import JobsAsked
from joulebook.collector.store.picked import PickedReads
from joulebook.collector.store.rows import JobRow
from joulebook.collector.store.scheduled import Scheduled


class _Listed(PickedReads):
    def __init__(self, rows: list[JobRow], told: dict[str, Scheduled]) -> None:
        self._listed = rows
        self._told = told

    def jobs(self, named: Collection[str] | None = None) -> list[JobRow]:
        return [row for row in self._listed if named is None or row.job in named]

    def scheduled(self, jobs: Collection[str] | None = None) -> dict[str, Scheduled]:
        return {job: one for job, one in self._told.items() if jobs is None or job in jobs}


def picked_of(rows: list[JobRow], told: dict[str, Scheduled] | None = None) -> PickedReads:
    """Return who picks jobs out of these."""
    return _Listed(rows, told or {})


def choices(rng: Random, rows: list[JobRow], count: int) -> Iterator[JobsAsked]:
    """Give questions: by any of what they ask, among and without some, from the first on and after any."""
    jobs, starts = sorted({row.job for row in rows}), [row.start_unix_us for row in rows]
    for _ in range(count):
        some = rng.sample(jobs, rng.randrange(len(jobs) + 1))
        yield JobsAsked(
            most=rng.randrange(1, len(jobs) + 2),
            after=rng.choice([None, (-rng.choice(starts), rng.choice(["", *jobs]))]),
            node=rng.choice([None, "no such", *(row.node for row in rows)]),
            user=rng.choice([None, *(row.user for row in rows)]),
            account=rng.choice([None, None, None, "chem", "bio"]),
            partition=rng.choice([None, None, None, "gpu", "long"]),
            among=rng.choice([None, None, some]),
            but=rng.choice([(), some]),
        )
