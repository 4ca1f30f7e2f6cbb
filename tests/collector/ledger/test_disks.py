"""Each disk's energy goes to who moved bytes on it, as far as workloads tell."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.domains import STORAGE
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.split import split
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.collector.ledger.test_book import holds_each
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode

COUNTER = report_pb2.SOURCE_KIND_COUNTER
SYSTEM = report_pb2.WORKLOAD_KIND_SYSTEM
MIB = 1 << 20
TIERS = (
    report_pb2.DISK_TIER_NVME,
    report_pb2.DISK_TIER_SSD,
    report_pb2.DISK_TIER_HDD,
    report_pb2.DISK_TIER_VIRTUAL,
)
FAST, SLOW, THIRD = "disk.nvme0n1", "disk.sda", "disk.sdb"


def _node(**rates: int) -> SimulatedNode:
    """Return a node of three disks, which draw what is moved on them alone, by rates of µJ a MiB."""
    return SimulatedNode(
        domains=[(name, COUNTER) for name in ("cpu.0", FAST, SLOW, THIRD)],
        disk_uj=0,
        disk_uj_per_mib={f"disk.{name}": rate for name, rate in rates.items()},
    )


def _booked(node: SimulatedNode, loads: Sequence[Load], ticks: int = 3, less: int = 0) -> dict[str, int]:
    """Return µJ of active storage energy by account. less: bytes a tick that no disk is seen to move."""
    node.begin(loads)
    for _ in range(ticks):
        node.tick()
    (report,) = decoded(node, [node.report()])
    for row in report.readings.layout.disk_io_rows.tolist():
        report.readings.values[row, 1:] = (report.readings.values[row, 1:] - less).clip(min=0)
    books = book([report.readings], Policy.NONE)
    assert books.residual_uj.tolist() == [0]
    rows = zip(books.account, books.active_uj[:, STORAGE].tolist(), strict=True)
    return {account: energy_uj for account, energy_uj in rows if energy_uj}


def test_each_disk_is_paid_for_by_who_used_it() -> None:
    """Of two jobs that moved as much, one on an NVMe disk and one on a hard disk, each pays its own disk."""
    loads = [Load("a", disk_bytes={FAST: 90 * MIB}), Load("b", disk_bytes={SLOW: 90 * MIB})]
    node = _node(nvme0n1=2_000, sda=7_000)
    assert _booked(node, loads) == {"job:a": 3 * 90 * 2_000, "job:b": 3 * 90 * 7_000}
    assert node.disk_truth_uj == {"a": 3 * 90 * 2_000, "b": 3 * 90 * 7_000}


def test_without_a_figure_by_disk_bytes_on_any_disk_count() -> None:
    """What workloads moved in all splits the disks' energy where nothing tells them apart."""
    node = SimulatedNode(domains=[("cpu.0", COUNTER), (FAST, COUNTER), (SLOW, COUNTER)])
    loads = [Load("a", io_bytes=3 * MIB), Load("b", io_bytes=MIB)]
    assert _booked(node, loads) == {"job:a": 4_500_000, "job:b": 1_500_000}


def test_a_child_workload_pays_for_what_it_moved_itself() -> None:
    """What a service moved does not hold what a run within it moved, with one between that tells nothing."""
    loads = [
        Load("unit.a", SYSTEM, disk_bytes={FAST: 50 * MIB, SLOW: 8 * MIB}),
        Load("between", SYSTEM, parent="unit.a"),
        Load("run.1", parent="between", disk_bytes={FAST: 20 * MIB}),
    ]
    booked = _booked(_node(nvme0n1=1_000, sda=2_000), loads, ticks=1)
    assert booked == {"job:run.1": 20_000, "system": 30_000 + 16_000}


def test_what_is_not_told_by_disk_is_where_bytes_are_left() -> None:
    """A job that tells only what it moved in all pays on the disk that moved more than others tell."""
    loads = [
        Load("a", disk_bytes={SLOW: 30 * MIB}),
        Load("b", io_bytes=60 * MIB),
        Load("c", disk_bytes={FAST: 20 * MIB}),
    ]
    node = _node(nvme0n1=1_000, sda=1_000)
    node.disk_uj_per_mib = {FAST: 4_000, SLOW: 1_000}
    # The node's first disk moved b's bytes and c's, and drew for c's.
    assert _booked(node, loads) == {"job:a": 90_000, "job:b": 180_000, "job:c": 60_000}


def test_what_a_disk_moved_for_nobody_is_the_systems() -> None:
    """Bytes beyond those of all workloads are the system's on that disk, and on no other."""
    node = _node(nvme0n1=1_000, sda=1_000)
    loads = [Load("a", disk_bytes={SLOW: 10 * MIB}), Load("b", disk_bytes={FAST: 10 * MIB})]
    node.also = {(m.METRIC_DEVICE_WRITTEN, "sda"): 30 * MIB}
    booked = _booked(node, loads, ticks=4)
    assert booked == {"job:a": 10_000, "job:b": 40_000, "system": 30_000}


def test_disks_of_which_nothing_is_told_share_by_what_is_left() -> None:
    """The disks that no series tells of are one pool, of those whose bytes nothing tells where they were."""
    node = _node()
    node.disk_uj = 1_000_000
    loads = [Load("a", disk_bytes={SLOW: 10 * MIB}), Load("b", io_bytes=10 * MIB)]
    booked = _booked(node, loads, ticks=1)
    assert booked == {"job:a": 1_000_000, "job:b": 2_000_000}


LOADS = st.lists(
    st.builds(
        Load,
        id=st.sampled_from(["a", "b", "c", "d"]),
        disk_bytes=st.dictionaries(st.sampled_from([FAST, SLOW, THIRD]), st.integers(1, 1 << 36), min_size=1),
    ),
    unique_by=lambda load: load.id,
    min_size=1,
)


@settings(max_examples=60, deadline=None)
@given(LOADS, st.integers(1, 5))
def test_everyone_pays_what_they_caused(loads: list[Load], ticks: int) -> None:
    """Whatever is moved where: each job has what its own bytes drew, to what rounding bytes may move."""
    node = _node(nvme0n1=2, sda=7, sdb=1)
    booked = _booked(node, loads, ticks)
    for load in loads:
        truth_uj = node.disk_truth_uj[load.id]
        assert booked.get(f"job:{load.id}", 0) == pytest.approx(truth_uj, rel=1e-6, abs=3 * ticks * 4)


@settings(max_examples=60, deadline=None)
@given(LOADS, st.lists(st.sampled_from(["e", "f"]), unique=True), st.integers(0, 1 << 37))
def test_books_balance_whatever_disks_were_seen_to_move(
    loads: list[Load], others: list[str], less: int
) -> None:
    """Of disks that moved less than is told, or nothing, no energy is lost and none is negative."""
    node = _node(nvme0n1=1, sda=2, sdb=3)
    booked = _booked(node, [*loads, *(Load(name, io_bytes=3 * MIB) for name in others)], less=less)
    assert sum(booked.values()) == sum(node.disk_truth_uj.values())
    assert min(booked.values(), default=0) >= 0


@settings(max_examples=20, deadline=None)
@given(st.lists(LOADS, min_size=1, max_size=3), st.integers(1, 4), st.sampled_from(Policy))
def test_reports_with_disks_are_booked_alike_alone_and_together(
    each: list[list[Load]], ticks: int, policy: Policy
) -> None:
    """Nodes of many disks give the same books side by side, on top of each other and each by itself."""
    readings = []
    for number in range(20 * len(each)):
        node = _node(nvme0n1=2, sda=7, sdb=3)
        node.name, node.disk_uj, node.disk_idle_mw = f"n{number}", 5_000_000 + number, 3_000
        node.disk_tiers = {SLOW: report_pb2.DISK_TIER_HDD}
        also = [Load(f"untold.{i}", cpu_us=99_000, io_bytes=MIB + number) for i in range(number % 3)]
        node.begin([*each[number % len(each)], *also])
        for _ in range(ticks):
            node.tick()
        readings += [d.readings for d in decoded(node, [node.report()])]
    holds_each(book(readings, policy), readings, policy)


@settings(max_examples=60, deadline=None)
@given(LOADS, st.integers(1, 4), st.integers(0, 9_000_000))
def test_disks_are_split_as_if_each_were_split_among_all(loads: list[Load], ticks: int, more: int) -> None:
    """What the few who used a disk receive is what splitting it among everybody gives, to the µJ."""
    node = _node(nvme0n1=2, sda=7, sdb=1)
    node.disk_uj = more
    expected: dict[str, int] = defaultdict(int)
    before = dict(node._energy)
    booked = _booked(node, loads, ticks)
    for disk in (FAST, SLOW, THIRD):
        # All ticks of a disk are alike: its energy is divided evenly.
        drawn, odd = divmod(node._energy[disk] - before[disk], ticks)
        assert not odd
        moved = [load.disk_bytes.get(disk, 0) for load in sorted(loads, key=lambda load: load.id)]
        weight = np.array([0, *moved], dtype=np.int64)[None, :, None]
        shares = split(np.array([[drawn]], dtype=np.int64), weight, np.zeros(1, dtype=np.int64))
        names = ["system", *sorted(f"job:{load.id}" for load in loads)]
        for name, uj in zip(names, shares.ravel().tolist(), strict=True):
            expected[name] += uj * ticks
    assert booked == {name: uj for name, uj in expected.items() if uj}


@settings(max_examples=60, deadline=None)
@given(
    LOADS, st.lists(st.sampled_from(TIERS), min_size=2, max_size=2), st.integers(1, 4), st.integers(0, 9_999)
)
def test_tiers_add_up_to_storage(
    loads: list[Load], tiers: list[report_pb2.DiskTier.ValueType], ticks: int, idle_mw: int
) -> None:
    """Of each tier all accounts have what its disks drew, to the µJ, and nobody more than of storage."""
    node = _node(nvme0n1=2, sda=7, sdb=1)
    node.disk_uj, node.disk_idle_mw = 5_000_001, idle_mw
    node.disk_tiers = dict(zip((SLOW, THIRD), tiers, strict=True))
    node.begin(loads)
    before = dict(node._energy)
    for _ in range(ticks):
        node.tick()
    (one,) = decoded(node, [node.report()])
    books = book([one.readings])
    # Of a disk of which no load tells there is no device here, and so no tier.
    told = {disk for load in loads for disk in load.disk_bytes}
    tier_of = {FAST: report_pb2.DISK_TIER_NVME} | {d: t for d, t in node.disk_tiers.items() if d in told}
    for place, tier in enumerate(TIERS[:3]):
        disks = [disk for disk, own in tier_of.items() if own == tier]
        drawn_uj = sum(node._energy[disk] - before[disk] for disk in disks)
        assert int(books.tier_uj[:, place].sum()) == drawn_uj
    storage_uj = books.active_uj[:, STORAGE] + books.idle_uj[:, STORAGE]
    assert (storage_uj >= books.tier_uj.sum(axis=1)).all()
    assert books.tier_uj.min(initial=0) >= 0
