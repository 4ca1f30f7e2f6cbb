"""Answers as JSON: the queries' own values, with times as RFC 3339 and lengths in seconds."""

from __future__ import annotations

from joulebook.collector.api.answer import Answer, OptionalTime, Seconds, Thousandths, Time, of


class ByDomain(Answer):
    """µJ by class of domain."""

    cpu: int
    memory: int
    gpu: int
    storage: int
    network: int
    platform: int


class ByTier(Answer):
    """µJ of storage by tier of disks; other is what is of no known tier. Together they are the class."""

    nvme: int
    ssd: int
    hdd: int
    other: int


class Coverage(Answer):
    """How a figure came to be known, as shares that add up to 1.

    missing: of nodes, time in which nobody read meters. Of a job, time in which nothing was booked to it:
    nobody watched, or it drew nothing on a node where neither memory nor idle floors are told.
    """

    measured: float
    modelled: float
    missing: float


class Host(Answer):
    """The machine."""

    logical_cpus: int
    packages: int
    memory_bytes: int
    cpu_model: str
    virtualization: str


class Domain(Answer):
    """An energy domain and the meter behind it."""

    domain: str
    source: str
    kind: str
    resolution_uj: int
    period_us: int
    accuracy_ppm: int


class Source(Answer):
    """How a source of readings stands, and what would mend it."""

    name: str
    state: str
    reason: str
    fix: str


class AccountPower(Answer):
    """Mean power of an account on a node."""

    account: str
    power_mw: int


class Node(Answer):
    """A node as its newest Report left it; power is null where it is not known now."""

    node: str
    last_report: Time = of("last_report_us")
    boot: str
    agent_version: str
    host: Host
    power_mw: int | None
    accounts: list[AccountPower]
    domains: list[Domain]
    sources: list[Source]
    jobs: list[str]


class NodePage(Answer):
    """Nodes by name."""

    nodes: list[Node] = of("items")
    next_cursor: str | None


class Scheduler(Answer):
    """What a job's scheduler told of it; "" and null: it did not. told is when it last did.

    known_as is its own name of the job where that is another one: 1234_7, 1234+1. owner is what made the job,
    Deployment/web; gpu_parts has what it was given of divided GPUs, mig-1g.10gb:2.
    """

    known_as: str
    user: str
    account: str
    partition: str
    name: str
    owner: str
    state: str
    node_count: int | None
    cpus: Thousandths = of("millicpus")
    gpus: int | None
    gpu_parts: str
    memory_bytes: int | None
    submit: OptionalTime = of("submit_us")
    start: OptionalTime = of("start_us")
    end: OptionalTime = of("end_us")
    exit_status: int | None
    told: Time = of("told_us")


class Figure(Answer):
    """What a revision of a job's figure said, until settlement replaced it."""

    revision: int
    energy_uj: int
    plus_minus_uj: int
    until: Time = of("until_us")


class Job(Answer):
    """A job over all of its nodes; cost and co2_grams are null until there are prices to go by.

    user, account, name and exit_status are the scheduler's where it told of them; scheduler is null where it
    told of nothing. start and end are those that the nodes' agents saw.

    revision counts from 1, and goes up with whatever changes the energy of a job that had ended, a late
    Report or settlement: where two answers say ended and the same revision, they say the same energy. revised
    is when it last went up. settled: the split is final, but for late Reports; superseded has the figures
    that settlement replaced.
    """

    job: str
    user: str
    account: str | None
    name: str
    source: str
    state: str
    nodes: list[str]
    start: Time = of("start_us")
    end: OptionalTime = of("end_us")
    exit_status: int | None
    duration_s: Seconds = of("duration_us")
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
    revised: OptionalTime = of("revised_us")
    settled: bool
    superseded: list[Figure]
    cost: float | None
    co2_grams: float | None
    scheduler: Scheduler | None


class JobPage(Answer):
    """Jobs, the newest first."""

    jobs: list[Job] = of("items")
    next_cursor: str | None


class Series(Answer):
    """One subject's values, one a bucket; null where nothing was reported."""

    node: str
    subject: str
    values: list[int | float | None]


class SeriesSet(Answer):
    """Series of one metric over the same buckets; times are the buckets' ends in unix seconds."""

    metric: str
    unit: str
    kind: str
    help: str
    from_: Time = of("from_us", "from")
    to: Time = of("to_us")
    step_s: Seconds = of("step_us")
    times: list[float] = of("times_s")
    series: list[Series]
    next_cursor: str | None


class AccountEnergy(Answer):
    """What one account received, one value a bucket."""

    account: str
    energy_uj: list[int]


class Stretch(Answer):
    """A stretch of the wall clock."""

    from_: Time = of("from_us", "from")
    to: Time = of("to_us")


class Power(Answer):
    """Energy by account and bucket, largest accounts first; rest_uj is that of all jobs beyond the limit.

    Over a bucket's length it is power. times are the buckets' ends in unix seconds. Of forgotten, at the ends
    of the range, only wider books are kept: no bucket has any of it.
    """

    from_: Time = of("from_us", "from")
    to: Time = of("to_us")
    step_s: Seconds = of("step_us")
    node: str | None
    times: list[float] = of("times_s")
    accounts: list[AccountEnergy]
    rest_uj: list[int]
    forgotten: list[Stretch]


class LedgerAccount(Answer):
    """What one account received."""

    account: str
    energy_uj: int
    active_uj: int
    idle_uj: int
    by_domain: ByDomain
    storage_by_tier: ByTier
    plus_minus_uj: int


class Ledger(Answer):
    """The books of a range; rest is what jobs beyond the limit received together.

    residual_uj is what the meters delivered less what the accounts and the rest received. Of measured_uj,
    unchecked_uj is what only the books still know: parts of hours whose raw readings are no longer kept. Of
    forgotten, parts of hours or of minutes at the ends of the range, only wider books are kept: no figure has
    any of it.
    """

    from_: Time = of("from_us", "from")
    to: Time = of("to_us")
    node: str | None
    measured_uj: int
    accounts: list[LedgerAccount]
    rest: LedgerAccount | None
    residual_uj: int
    unchecked_uj: int
    coverage: Coverage
    forgotten: list[Stretch]
