"""Who moved bytes on which disk, from cgroups' files to the books."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.domains import STORAGE
from joulebook.collector.ledger.policy import Policy
from tests.agent.workloads.disknode import DISK_IO, Node
from tests.fixtures.cgroups.fake import V1, V2

MIB = 1 << 20


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a node of two jobs."""
    node = Node(tmp_path)
    node.move("1")
    node.move("2")
    node.start()
    return node


def _active_uj(node: Node) -> dict[str, int]:
    books = book([one.readings for one in node.decoded()], Policy.NONE)
    assert not books.residual_uj.any()
    found: dict[str, int] = {}
    for account, energy_uj in zip(books.account, books.active_uj[:, STORAGE].tolist(), strict=True):
        found[account] = found.get(account, 0) + energy_uj
    return {account: energy_uj for account, energy_uj in found.items() if energy_uj}


def test_a_disks_energy_is_of_the_one_job_that_used_it(node: Node) -> None:
    """Two jobs that move as much, on an NVMe disk and on a hard disk: each has all that its disk drew."""
    for _ in range(12):
        node.move("1", nvme0n1=64 * MIB)
        node.move("2", sda=64 * MIB)
        node.tick()
    booked = _active_uj(node)
    drawn = {"disk.nvme0n1": 0, "disk.sda": 0, "disk.sdb": 0}
    for one in node.decoded():
        layout, values = one.readings.layout, one.readings.values
        for row, name in enumerate(layout.domain_names):
            idle_uj = int(values[layout.idle_power_row[row], 0]) * 1000 * len(one.readings.interval_us)
            if name in drawn:
                drawn[name] += int(values[layout.energy_row[row], 1:].sum()) - idle_uj
    assert booked == {"job:cgroup.batch.1": drawn["disk.nvme0n1"], "job:cgroup.batch.2": drawn["disk.sda"]}
    assert drawn["disk.sda"] > drawn["disk.nvme0n1"] > drawn["disk.sdb"] == 0


def test_a_series_begins_where_its_first_bytes_were_moved(node: Node) -> None:
    """The Report ends before a job's first use of a disk, and its series has all of that use."""
    for _ in range(3):
        node.tick()
    node.move("1", sda=5 * MIB)
    node.tick()
    node.tick()
    assert node.told() == [{}, {("cgroup.batch.1", "disk.sda"): [5 * MIB, 0]}]
    assert [len(one.readings.interval_us) for one in node.decoded()] == [3, 2]


def test_little_is_not_worth_a_series(node: Node) -> None:
    """A job has none until it moved a MiB on a disk; what it moved in all is told from the first byte on."""
    for _ in range(3):
        node.move("1", sda=MIB // 2 - 512)
        node.tick()
    assert node.told() == [{}, {("cgroup.batch.1", "disk.sda"): [MIB // 2 - 512]}]
    (first, _) = node.decoded()
    row = int(first.readings.layout.workload_io_row[1])
    assert first.readings.values[row, 1:].tolist() == [MIB // 2 - 512] * 2


@pytest.mark.parametrize("version", [V1, V2])
def test_bytes_of_a_stack_are_its_disks(tmp_path: Path, version: str) -> None:
    """What a job moves through device mapper is told of the disk below, once, on both versions of cgroups."""
    node = Node(tmp_path, version)
    node.move("1", sdb=1, sda=1, dm_0=1)
    node.start()
    node.move("1", dm_0=3 * MIB, sda=3 * MIB, sdb=2 * MIB)
    node.tick()
    assert node.told()[-1] == {
        ("cgroup.batch.1", "disk.sda"): [3 * MIB],
        ("cgroup.batch.1", "disk.sdb"): [2 * MIB],
    }


def test_a_single_disk_needs_no_series(tmp_path: Path) -> None:
    """Of a node with one disk, what a workload moved in all says the same."""
    node = Node(tmp_path, disks=("sda",))
    node.move("1")
    node.start()
    node.move("1", sda=50 * MIB)
    node.tick()
    assert node.told() == [{}]
    assert set(_active_uj(node)) == {"job:cgroup.batch.1"}


def test_who_comes_back_counts_on(node: Node) -> None:
    """A job that goes takes its series along; the same id's goes on from there, and so does its count."""
    node.move("1", sda=5 * MIB)
    node.tick()
    node.fake.remove("/batch/1")
    node.tick()
    node.tick()
    assert not any(key.metric == DISK_IO for key in node.decoded()[-1].readings.layout.series)
    node.by_job.clear()
    node.move("1", sda=2 * MIB)
    node.tick()
    assert node.told()[-1] == {("cgroup.batch.1", "disk.sda"): [2 * MIB]}
    (row,) = node.decoded()[-1].readings.layout.disk_pair_row.tolist()
    assert node.decoded()[-1].readings.values[row].tolist() == [5 * MIB, 2 * MIB]


def test_what_a_group_moved_before_it_was_watched_is_not_told(tmp_path: Path) -> None:
    """A group that was there before the agent begins at what its file shows then."""
    node = Node(tmp_path)
    node.move("1", sda=500 * MIB)
    node.start()
    node.move("1", sda=MIB)
    node.tick()
    assert node.told()[-1] == {("cgroup.batch.1", "disk.sda"): [MIB]}


def test_a_disk_that_came_back_counts_from_its_beginning(node: Node) -> None:
    """A disk that was pulled counts from 0 when it is back; a series never falls."""
    node.move("1", sda=9 * MIB)
    node.tick()
    node.by_job["1"]["sda"] = 0
    node.move("1", sda=3 * MIB)
    node.tick()
    assert node.told()[-1] == {("cgroup.batch.1", "disk.sda"): [9 * MIB, 3 * MIB]}


def test_a_disk_that_is_no_domain_has_no_series(node: Node) -> None:
    """Where a disk's energy is not told apart, nothing tells who uses it; once it is, all that use it do."""
    node.move("1", sda=9 * MIB)
    node.tick()
    node.workloads.know_domains(frozenset({"disk.nvme0n1"}))
    assert not any(series.metric == DISK_IO for series in node.workloads.series)
    assert len(node.workloads.values()) == len(node.workloads.series)
    node.workloads.know_domains(frozenset({"disk.nvme0n1", "disk.sda"}))
    assert [s.domain for s in node.workloads.series if s.metric == DISK_IO] == ["disk.sda"]
    assert node.workloads.values()[-1] == 9 * MIB


def test_an_end_is_told_with_the_last_use(node: Node) -> None:
    """A job that ends in the tick in which another first uses a disk ends with that tick's Report."""
    node.tick()
    node.fake.remove("/batch/2")
    node.move("1", sda=9 * MIB)
    node.tick()
    first, second = node.decoded()
    assert not first.ended
    assert [end.workload_id for end in second.ended] == ["cgroup.batch.2"]


_MOVES = st.dictionaries(
    st.tuples(st.sampled_from(["1", "2"]), st.sampled_from(["nvme0n1", "sda", "sdb"])),
    st.sampled_from([512, MIB // 2, MIB, 7 * MIB]),
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(_MOVES, min_size=1, max_size=12))
def test_every_byte_from_the_first_mib_on_is_told_once(ticks: list[dict[tuple[str, str], int]]) -> None:
    """Whoever moves what on which disk in which tick: each pair's series has all from its MiB's tick on."""
    with tempfile.TemporaryDirectory() as directory:
        node = Node(Path(directory))
        node.move("1")
        node.move("2")
        node.start()
        moved: dict[tuple[str, str], int] = {}
        expected: dict[tuple[str, str], int] = {}
        for moves in ticks:
            for (job, disk), amount in moves.items():
                node.move(job, **{disk: amount})
                pair = f"cgroup.batch.{job}", f"disk.{disk}"
                moved[pair] = moved.get(pair, 0) + amount
                if moved[pair] >= MIB:
                    expected[pair] = expected.get(pair, 0) + amount
            node.tick()
        told: dict[tuple[str, str], int] = {}
        for report in node.told():
            for pair, increments in report.items():
                told[pair] = told.get(pair, 0) + sum(increments)
        node.workloads.close()
    assert told == expected
    decoded = node.decoded()
    assert sum(len(one.readings.interval_us) for one in decoded) == len(ticks)
    assert [one.start_us for one in decoded[1:]] == [one.end_us for one in decoded[:-1]]
