"""Jobs: what was run, where, for how long, and what it drew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from joulebook.collector.queries.errors import BadValueError, UnknownNameError, expected_name
from joulebook.collector.queries.figures import ByDomain, ByTier, Coverage, Figures, coverage
from joulebook.collector.queries.pages import Page, check_limit, first_page, place_of
from joulebook.collector.queries.revised import Figure, Revised
from joulebook.collector.queries.times import MAX_UNIX_US
from joulebook.collector.store.jobs_asked import JobsAsked
from joulebook.collector.store.presence import is_running, present, running_jobs
from joulebook.collector.store.protocol import Range, Store, StoreView
from joulebook.collector.store.rows import AccountRow, JobRow
from joulebook.collector.store.scheduled import Scheduled

STATES = ("running", "ended")
# A job's Reports lie around its own times: by a Report's length, and by what the wall clock was stepped.
_MARGIN_US = 86_400_000_000
# Of those that are called alike, the newest.
_MOST_CALLED = 20


@dataclass(frozen=True, slots=True)
class Job:
    """A job over all of its nodes. cost and co2_grams are None until there are prices to go by.

    What its scheduler told goes before what its tasks did; scheduler is None while nothing was told.
    revision counts from 1, and goes up with whatever changes the energy of a job that had ended: a late
    Report, or settlement; revised_us is when it last did. settled: all of its Reports are booked with what
    their hours tell together, so only late ones will change it. superseded has what settlement replaced.
    """

    job: str
    user: str
    account: str | None
    name: str
    source: str
    state: str
    nodes: list[str]
    start_us: int
    end_us: int | None
    exit_status: int | None
    duration_us: int
    average_power_mw: int | None
    energy_uj: int
    active_uj: int
    idle_uj: int
    by_domain: ByDomain
    active_by_domain: ByDomain
    storage_by_tier: ByTier
    plus_minus_uj: int
    coverage: Coverage
    revision: int
    revised_us: int | None
    settled: bool
    superseded: list[Figure]
    cost: float | None = None
    co2_grams: float | None = None
    scheduler: Scheduled | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A job on one node, whether it is there still, and when the node was last heard of."""

    row: JobRow
    running: bool
    heard_us: int


def list_jobs(
    store: Store,
    *,
    node: str | None = None,
    user: str | None = None,
    account: str | None = None,
    partition: str | None = None,
    name: str | None = None,
    state: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[Job]:
    """Return jobs, the newest first: those that all that is given is true of.

    account and partition are as the scheduler told them, and may not be "".
    """
    for field, given in (("account", account), ("partition", partition)):
        if given == "":
            raise BadValueError(field, given, "a name that the scheduler has, such as those of /api/v1/jobs")
    if state is not None and state not in STATES:
        raise BadValueError("state", state, " or ".join(STATES))
    check_limit(limit)
    asked = JobsAsked(most=limit + 1, node=node, user=user, account=account, partition=partition, name=name)
    if cursor:
        start, job = place_of(cursor, like=(0, ""))
        asked = replace(asked, after=(int(start), str(job)))
    with store.snapshot() as frozen:
        if state is not None:
            running = running_jobs(frozen)
            asked = replace(asked, among=running) if state == "running" else replace(asked, but=running)
        places = _places(frozen, frozen.newest_jobs(asked))
        taken = first_page(list(places), lambda job: (-_start_us(places[job]), job), limit)
        rows = _rows(frozen, {job: places[job] for job in taken.items}) if taken.items else {}
        revised = Revised.of(frozen, taken.items, _ended(places, rows))
        told = frozen.scheduled(taken.items) if taken.items else {}
    found = [_told(_job(job, places[job], rows.get(job, {}), revised), told.get(job)) for job in taken.items]
    return Page(found, taken.next_cursor)


def get_job(store: Store, job: str) -> Job:
    """Return a job, by its id, its scheduler's own, or what it is called where no other of its kind is.

    Raises UnknownNameError where there is none, or there are several.
    """
    with store.snapshot() as frozen:
        places = _places(frozen, frozen.jobs([job])) or _known_as(frozen, job) or _called(frozen, job)
        if not places:
            raise UnknownNameError("job", job, _expected(frozen, job))
        (found,) = places
        rows = _rows(frozen, places)
        revised = Revised.of(frozen, places, _ended(places, rows))
        told = frozen.scheduled([found]).get(found)
    return _told(_job(found, places[found], rows.get(found, {}), revised), told)


def _known_as(store: StoreView, job: str) -> dict[str, list[_Place]]:
    """Return where the job is that its scheduler calls so: slurm.1234_7 is task 7 of array 1234."""
    scheduler, _, known_as = job.partition(".")
    found = [one for one in store.jobs_known_as(known_as) if one.startswith(f"{scheduler}.")]
    # Numbers are given anew when they run out: the last is meant.
    places = _places(store, store.jobs(found)) if found else {}
    newest = sorted(places, key=lambda one: _start_us(places[one]))[-1:]
    return {one: places[one] for one in newest}


def _called(store: StoreView, job: str) -> dict[str, list[_Place]]:
    """Return where the one job is that has such a name: k8s.NAMESPACE/POD."""
    kind, _, name = job.partition(".")
    rows = store.newest_jobs(JobsAsked(most=_MOST_CALLED, name=name)) if name else []
    places = _places(store, [row for row in rows if row.job.startswith(f"{kind}.")])
    if len(places) > 1:
        ids = ", ".join(f"{one!r} ({_state(own)})" for one, own in places.items())
        raise UnknownNameError("job", job, f"the id of one that is called so, such as {ids}")
    return places


def _expected(store: StoreView, job: str) -> str:
    if store.scheduled([job]):
        return "a job in the books; its scheduler told of it, and no agent has"
    return expected_name("a job in the books", job, {row.job for row in store.jobs()})


def _told(job: Job, told: Scheduled | None) -> Job:
    """Return a job with what its scheduler told of it."""
    if told is None:
        return job
    return replace(
        job,
        user=told.user or job.user,
        account=told.account or None,
        name=told.name or job.name,
        exit_status=job.exit_status if told.exit_status is None else told.exit_status,
        scheduler=told,
    )


def _places(store: StoreView, rows: Sequence[JobRow]) -> dict[str, list[_Place]]:
    """Return where jobs are or were, in the order of the rows."""
    # A job of which an end was told may have come back.
    nodes = store.nodes({row.node for row in rows}, sources=False) if rows else []
    heard_us, there = {row.node: row.last_unix_us for row in nodes}, present(nodes)
    jobs: dict[str, list[_Place]] = defaultdict(list)
    for row in rows:
        jobs[row.job].append(_Place(row, is_running(row, there), heard_us.get(row.node, 0)))
    return jobs


def _state(places: Sequence[_Place]) -> str:
    return "running" if any(p.running for p in places) else "ended"


def _start_us(places: Sequence[_Place]) -> int:
    return min(p.row.start_unix_us for p in places)


def _ended(
    places: Mapping[str, Sequence[_Place]], rows: Mapping[str, Mapping[str, AccountRow]]
) -> list[AccountRow]:
    """Return what those that ended received."""
    return [row for job, own in rows.items() if _state(places[job]) == "ended" for row in own.values()]


def _rows(store: StoreView, jobs: Mapping[str, Sequence[_Place]]) -> dict[str, dict[str, AccountRow]]:
    """Return what jobs received, by job and node."""
    places = [place for own in jobs.values() for place in own]
    from_us = min(p.row.start_unix_us for p in places) - _MARGIN_US
    ends = [None if p.running else p.row.end_unix_us for p in places]
    to_us = max((end + _MARGIN_US if end is not None else 2 * MAX_UNIX_US) for end in ends)
    found: dict[str, dict[str, AccountRow]] = defaultdict(dict)
    for row in store.totals([f"job:{job}" for job in jobs], Range(from_us, to_us)):
        found[row.account.removeprefix("job:")][row.node] = row
    return found


def _job(job: str, places: Sequence[_Place], rows: Mapping[str, AccountRow], revised: Revised) -> Job:
    sums = Figures.of(list(rows.values()))
    start_us = _start_us(places)
    ends = [_end_us(p, rows.get(p.row.node)) for p in places]
    state = _state(places)
    # Of one that came back it is of the life before.
    statuses = [p.row.exit_status for p in places if p.row.exit_status is not None and not p.running]
    total_us = sum(end - p.row.start_unix_us for p, end in zip(places, ends, strict=True))
    # An interval that the job began or ended in is longer than the job's part of it.
    known = {
        p.row.node: min(rows[p.row.node].observed_us, max(end - p.row.start_unix_us, 1))
        for p, end in zip(places, ends, strict=True)
        if p.row.node in rows
    }
    first = places[0].row
    revision, revised_us = revised.revision(job)
    return Job(
        job=job,
        user=first.user,
        account=None,
        name=first.name,
        source=first.source,
        state=state,
        nodes=sorted(p.row.node for p in places),
        start_us=start_us,
        end_us=max(ends) if state == "ended" else None,
        exit_status=next((s for s in statuses if s), 0) if statuses else None,
        duration_us=max(ends) - start_us,
        average_power_mw=_power_mw(rows, known),
        energy_uj=sums.energy_uj,
        active_uj=sums.active_uj,
        idle_uj=sums.idle_uj,
        by_domain=sums.by_domain,
        active_by_domain=sums.active_by_domain,
        storage_by_tier=sums.storage_by_tier,
        plus_minus_uj=sums.plus_minus_uj,
        coverage=coverage(sums.energy_uj, sums.modelled_uj, sum(known.values()), total_us),
        revision=revision,
        revised_us=revised_us,
        settled=state == "ended" and revised.settled(rows),
        superseded=revised.superseded(job),
    )


def _end_us(place: _Place, booked: AccountRow | None) -> int:
    """Return when a job ended on a node, or up to when it is known to have been there."""
    row = place.row
    if place.running:
        seen_us = place.heard_us
    elif row.end_unix_us is not None:
        seen_us = row.end_unix_us
    else:
        seen_us = booked.last_unix_us if booked else 0
    return max(seen_us, row.start_unix_us)


def _power_mw(rows: Mapping[str, AccountRow], known_us: Mapping[str, int]) -> int | None:
    """Return the mean power while the job was observed; the nodes' powers add up."""
    if not known_us:
        return None
    energy = {node: sum(rows[node].active_uj) + sum(rows[node].idle_uj) for node in known_us}
    return sum(energy[node] * 1000 // known_us[node] for node in known_us)
