"""The books balance to the microjoule, and each load's energy lands on its owner."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.split import split
from joulebook.collector.ledger.stack import Ints, Readings
from joulebook.v1 import report_pb2
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode

COUNTER = report_pb2.SOURCE_KIND_COUNTER
SYSTEM = report_pb2.WORKLOAD_KIND_SYSTEM
AGENT = report_pb2.WORKLOAD_KIND_AGENT


def _run(
    node: SimulatedNode, loads: Sequence[Load], ticks: int = 10, policy: Policy = Policy.RESERVED
) -> Books:
    node.begin(loads)
    for _ in range(ticks):
        node.tick()
    return book([d.readings for d in decoded(node, [node.report()])], policy)


def _rows(books: Books) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    for i, account in enumerate(books.account):
        yield (
            account,
            {c: (int(books.active_uj[i, k]), int(books.idle_uj[i, k])) for k, c in enumerate(CLASSES)},
        )


def test_known_loads_land_on_their_owners() -> None:
    """Each account receives exactly the active energy that its own CPU time caused."""
    node = SimulatedNode()
    loads = [
        Load("slurm.1", cpu_us=3_000_000),
        Load("slurm.2", cpu_us=1_000_000),
        Load("unit.sshd.service", SYSTEM, cpu_us=200_000),
        Load("agent", AGENT, cpu_us=1_000),
        Load("unit.parent.slice", SYSTEM, cpu_us=700_000),
        Load("run.child", parent="unit.parent.slice", cpu_us=500_000),
    ]
    rows = dict(_rows(_run(node, loads)))
    assert rows["job:slurm.1"]["cpu"][0] == node.truth_uj["slurm.1"]
    assert rows["job:slurm.2"]["cpu"][0] == node.truth_uj["slurm.2"]
    assert rows["agent"]["cpu"][0] == node.truth_uj["agent"]
    assert rows["job:run.child"]["cpu"][0] == node.truth_uj["run.child"]
    assert rows["system"]["cpu"][0] == node.truth_uj["unit.sshd.service"] + node.truth_uj["unit.parent.slice"]
    assert rows["idle"]["cpu"][0] == 0


def test_use_of_no_workload_is_systems() -> None:
    """CPU time that the node counted beyond its workloads is the system's, not spread over the jobs."""
    node = SimulatedNode()
    node.begin([Load("slurm.1", cpu_us=1_000_000), Load("unit.x.service", SYSTEM, cpu_us=1_000_000)])
    node.tick()
    report = node.report()
    (whole,) = decoded(node, [report])
    blind = decoded(node, [report])[0].readings
    row = whole.readings.layout.workload_cpu_row[1]
    blind.values[row] = 0
    assert dict(_rows(book([blind])))["system"] == dict(_rows(book([whole.readings])))["system"]


@pytest.mark.parametrize(
    ("policy", "job_share", "idle_share"),
    [
        pytest.param(Policy.RESERVED, 4 / 8, 3 / 8, id="reserved: who holds capacity, used or not"),
        pytest.param(Policy.ACTIVE, 1 / 2, 0, id="active: who uses the machine"),
        pytest.param(Policy.NONE, 0, 1, id="none: all of it idle"),
    ],
)
def test_policies_share_the_idle_floor(policy: Policy, job_share: float, idle_share: float) -> None:
    """The idle floor of the CPUs goes where the policy says."""
    node = SimulatedNode(cpus=8)
    loads = [
        Load("slurm.1", cpu_us=1_000_000, reserved_millicpus=4000),
        Load("unit.x.service", SYSTEM, cpu_us=1_000_000),
    ]
    rows = dict(_rows(_run(node, loads, policy=policy)))
    floor_uj = node.idle_uj * 10
    assert rows.get("job:slurm.1", {}).get("cpu", (0, 0))[1] == floor_uj * job_share
    assert rows.get("idle", {}).get("cpu", (0, 0))[1] == floor_uj * idle_share


def test_a_sole_user_has_no_error_of_splitting() -> None:
    """± holds the meter's error alone where nobody else used the machine, and the split's where one did."""
    alone = _run(SimulatedNode(memory_uj=0), [Load("slurm.1", cpu_us=4_000_000)])
    shared = _run(
        SimulatedNode(memory_uj=0), [Load("slurm.1", cpu_us=4_000_000), Load("slurm.2", cpu_us=4_000_000)]
    )
    job = alone.account.index("job:slurm.1")
    energy_uj = int(alone.active_uj[job].sum() + alone.idle_uj[job].sum())
    assert int(alone.systematic_uj[job]) == pytest.approx(energy_uj * 0.03, rel=1e-6)
    job = shared.account.index("job:slurm.1")
    energy_uj = int(shared.active_uj[job].sum() + shared.idle_uj[job].sum())
    assert int(shared.systematic_uj[job]) > energy_uj * 0.1


def test_parts_of_a_job_are_one_account() -> None:
    """An application in two services is one job with the use of both parts; each service keeps the rest."""
    node = SimulatedNode()
    node.begin(
        [
            Load("unit.a", SYSTEM, cpu_us=300_000),
            Load("unit.b", SYSTEM, cpu_us=600_000),
            Load("spark.1", parent="unit.a", cpu_us=200_000),
            Load("spark.1+2", parent="unit.b", job="spark.1", cpu_us=600_000),
            Load("slurm.7", cpu_us=800_000),
        ]
    )
    node.tick(1_000_000)
    books = book([d.readings for d in decoded(node, [node.report()])], Policy.ACTIVE)
    assert {name for name in books.account if name.startswith("job:")} == {"job:slurm.7", "job:spark.1"}
    spark, slurm = books.account.index("job:spark.1"), books.account.index("job:slurm.7")
    system = books.account.index("system")
    assert books.active_uj[spark, 0] == books.active_uj[slurm, 0] == 8 * books.active_uj[system, 0] > 0
    assert books.residual_uj.tolist() == [0]


DOMAINS = st.lists(
    st.sampled_from(
        [
            *("node", "psys", "module.0", "cpu.0", "cpu.1", "core.0"),
            *("memory.0", "gpu.0", "gpu.1", "gpu.2", "disk.sda", "disk.nvme0n1", "disk.sdb", "nic.eth0"),
        ]
    ),
    unique=True,
    min_size=1,
).map(lambda names: [(name, COUNTER) for name in names])
GPUS = st.sampled_from(["gpu.0", "gpu.1", "gpu.2"])
LOADS = st.lists(
    st.builds(
        Load,
        id=st.sampled_from([f"job.{i}" for i in range(5)]),
        kind=st.sampled_from([report_pb2.WORKLOAD_KIND_JOB, SYSTEM, AGENT]),
        cpu_us=st.integers(0, 3_000_000),
        memory_bytes=st.integers(0, 1 << 40),
        io_bytes=st.integers(0, 1 << 33),
        disk_bytes=st.dictionaries(
            st.sampled_from(["disk.sda", "disk.nvme0n1"]), st.integers(0, 1 << 33), max_size=2
        ),
        reserved_millicpus=st.integers(0, 64_000),
        gpus_held=st.lists(GPUS, unique=True, max_size=3).map(tuple),
        gpu_ppm=st.dictionaries(GPUS, st.integers(0, 1_000_000), max_size=3),
    ),
    unique_by=lambda load: load.id,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(DOMAINS, LOADS, st.lists(st.integers(1, 5_000_000), min_size=1, max_size=6), st.sampled_from(Policy))
def test_books_balance_for_every_node(
    domains: list[tuple[str, report_pb2.SourceKind.ValueType]],
    loads: list[Load],
    ticks: list[int],
    policy: Policy,
) -> None:
    """Σ accounts is what the root drew, exactly, and no entry is negative, whatever is nested in what."""
    node = SimulatedNode(domains=domains, gpu_idle_mw=300)
    node.begin(loads)
    for length_us in ticks:
        node.tick(length_us)
    books = book([d.readings for d in decoded(node, [node.report()])], policy)
    assert books.residual_uj.tolist() == [0]
    assert int(books.active_uj.sum() + books.idle_uj.sum()) == int(books.measured_uj[0])
    assert (books.active_uj >= 0).all()
    assert (books.idle_uj >= 0).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(DOMAINS, LOADS, st.integers(1, 4)), min_size=1, max_size=5))
def test_reports_are_booked_alike_alone_and_together(
    nodes: list[tuple[list[tuple[str, report_pb2.SourceKind.ValueType]], list[Load], int]],
) -> None:
    """A batch of nodes of different shapes gives bit for bit what each gives by itself."""
    readings = []
    for number, (domains, loads, ticks) in enumerate(nodes):
        node = SimulatedNode(name=f"n{number}", domains=domains)
        node.begin(loads)
        for _ in range(ticks):
            node.tick()
        readings += [d.readings for d in decoded(node, [node.report()])]
    holds_each(book(readings), readings, Policy.RESERVED)


@settings(max_examples=25, deadline=None)
@given(DOMAINS, st.lists(LOADS, min_size=1, max_size=3), st.integers(1, 4), st.sampled_from(Policy))
def test_reports_of_a_kind_are_booked_alike_alone_and_side_by_side(
    domains: list[tuple[str, report_pb2.SourceKind.ValueType]],
    each: list[list[Load]],
    ticks: int,
    policy: Policy,
) -> None:
    """Many Reports of nodes of a few kinds give bit for bit what each gives by itself."""
    readings = []
    for number in range(20 * len(each)):
        node = SimulatedNode(name=f"n{number}", domains=domains, idle_uj=40_000_000 + number, gpu_idle_mw=300)
        node.begin(each[number % len(each)])
        for tick in range(ticks):
            node.tick(1_000_000 + 7 * tick + number)
        readings += [d.readings for d in decoded(node, [node.report()])]
    holds_each(book(readings, policy), readings, policy)


def holds_each(together: Books, readings: Sequence[Readings], policy: Policy) -> None:
    """Check that books hold what each Report gives by itself."""
    assert np.array_equal(together.report, np.sort(together.report))
    for number, one in enumerate(readings):
        alone = book([one], policy)
        rows = np.flatnonzero(together.report == number)
        assert [together.account[i] for i in rows] == alone.account
        for name in ("active_uj", "idle_uj", "tier_uj", "modelled_uj", "systematic_uj", "variance_uj2"):
            assert (getattr(together, name)[rows] == getattr(alone, name)).all()
        for name in ("measured_uj", "raised_uj", "unread_us", "residual_uj"):
            assert getattr(together, name)[number] == getattr(alone, name)[0]


def test_the_check_catches_a_lost_microjoule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A split that loses one µJ shows as a residual, because the measured side is read off the readings."""
    whole = split

    def lossy(amount: Ints, weight: Ints, fallback: Ints) -> Ints:
        shares = whole(amount, weight, fallback)
        place = np.unravel_index(int(shares.argmax()), shares.shape)
        shares[place] -= 1
        return shares

    node = SimulatedNode()
    monkeypatch.setattr("joulebook.collector.ledger.book.split", lossy)
    assert _run(node, [Load("slurm.1", cpu_us=1_000_000)]).residual_uj.tolist() == [2]
