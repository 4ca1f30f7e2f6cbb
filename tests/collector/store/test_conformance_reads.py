"""Every store answers alike: the same history gives the same answers to each read."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.store.protocol import Range, Store
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import by_name
from tests.collector.store.conftest import Kind
from tests.collector.store.jobs_asked import choices, picked_of
from tests.collector.store.told import RANGES, READS, points, span, tails
from tests.simulated.cluster import ENDED_JOB, JOB, Cluster
from tests.simulated.delivery import EVER, decoded, deliver
from tests.simulated.node import BOOT, Load, SimulatedNode


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("selected", RANGES, ids=str)
def test_reads_of_a_range(store: Store, truth: Cluster, read: str, selected: Range) -> None:
    """Each read gives the same of every range, and within a snapshot too."""
    expected = READS[read](truth.store, selected)
    assert READS[read](store, selected) == expected
    with store.snapshot() as frozen:
        assert READS[read](frozen, selected) == expected  # type: ignore[arg-type]  # it only reads


def test_each_node_has_its_own_gaps(kind: Kind) -> None:
    """Of several nodes of which each lost another Report, each is told what its own meter delivered."""
    store = kind.opened()
    nodes = [SimulatedNode(name=f"n{number}", boot=bytes([number] * 16)) for number in (1, 2, 3)]
    for lost, node in enumerate(nodes, 1):
        node.begin([Load("slurm.1", cpu_us=100_000 * lost)])
        sent = []
        for _report in range(5):
            for _ in range(lost):
                node.tick()
            sent.append(node.report())
        del sent[lost]
        deliver(store, [decoded(node, sent)])
    kind.delivered()
    for node in nodes:
        ledger = get_ledger(store, node=node.name, from_us=0, to_us=EVER.to_us)
        assert (ledger.measured_uj, ledger.residual_uj) == (node.measured_uj, 0)
        assert len(store.raw_gaps(Range(0, EVER.to_us, node.name))) == 1


def test_account_of_a_range(store: Store, truth: Cluster) -> None:
    """One account's rows are those that it has among all."""
    for account in (f"job:{JOB}", f"job:{ENDED_JOB}", "idle", "unattributed", "nobody"):
        selected = Range(0, EVER.to_us, account=account)
        assert store.accounts(selected) == truth.store.accounts(selected)


def test_points_of_workloads_on_gpus(kind: Kind) -> None:
    """Of two workloads on two GPUs each has its own series on each, also by one name or by both."""
    gpus = [("gpu.0", report_pb2.SOURCE_KIND_COUNTER), ("gpu.1", report_pb2.SOURCE_KIND_COUNTER)]
    node = SimulatedNode(domains=gpus)
    shares = {"a/b": {"gpu.0": 100_000, "gpu.1": 200_000}, "c": {"gpu.0": 300_000, "gpu.1": 400_000}}
    node.begin([Load(name, gpu_ppm=own) for name, own in shares.items()])
    node.tick()
    store = kind.opened()
    deliver(store, [decoded(node, [node.report()])])
    metric = by_name()["workload_gpu_utilisation_ppm"].number

    def found(subject: str | None) -> dict[tuple[str, str], int]:
        points = store.points(EVER, metric, subject)
        return {(p.key.workload, p.key.domain): p.values.item() for p in points}

    every = {(name, gpu): ppm for name, own in shares.items() for gpu, ppm in own.items()}
    assert found(None) == every
    assert found("a/b") == {key: ppm for key, ppm in every.items() if key[0] == "a/b"}
    assert found("gpu.1") == {key: ppm for key, ppm in every.items() if key[1] == "gpu.1"}
    assert found("a/b/gpu.0") == {("a/b", "gpu.0"): 100_000}


def test_points_of_workloads_on_disks(kind: Kind) -> None:
    """Of two workloads on two disks each has what it moved on each in an interval."""
    node = SimulatedNode(
        domains=[(f"disk.{name}", report_pb2.SOURCE_KIND_COUNTER) for name in ("sda", "nvme0n1")]
    )
    moved = {"a/b": {"disk.sda": 5 << 20, "disk.nvme0n1": 6 << 20}, "c": {"disk.sda": 7 << 20}}
    node.begin([Load(name, disk_bytes=own) for name, own in moved.items()])
    node.tick()
    node.tick()
    store = kind.opened()
    deliver(store, [decoded(node, [node.report()])])
    points = store.points(EVER, by_name()["disk_io_bytes"].number, None)
    assert {(p.key.workload, p.key.domain): p.values.tolist() for p in points} == {
        (name, disk): [bytes_] * 2 for name, own in moved.items() for disk, bytes_ in own.items()
    }


def test_points_of_a_subject(store: Store, truth: Cluster) -> None:
    """A subject that is named has its own series, and one that a metric does not have none."""
    for metric, subject in (
        ("energy_uj", "cpu.0"),
        ("cpu_us", JOB),
        ("cpu_busy_us", "x"),
        ("cpu_busy_us", ""),
    ):
        number = by_name()[metric].number
        assert points(store, EVER, number, subject) == points(truth.store, EVER, number, subject)


def test_tails_and_spans(store: Store, truth: Cluster) -> None:
    """The last Report of each boot, and those around any stretch of a boot's clock, are the same."""
    assert tails(store) == tails(truth.store)
    for start_us in range(40_000_000, 110_000_000, 5_000_000):
        for end_us in (start_us, start_us + 12_000_000):
            asked = ("n1", BOOT, start_us, end_us)
            assert [*map(span, store.spans(*asked))] == [*map(span, truth.store.spans(*asked))]
    assert store.spans("n1", bytes(16), 0, 1) == store.spans("n9", BOOT, 0, 1) == []


def test_nodes_jobs_and_layouts(store: Store, truth: Cluster) -> None:
    """Nodes, jobs and layouts are told alike."""

    def told(of: Store) -> list[Any]:
        return [(r.node, r.layout.serialized, r.boot, r.last_unix_us, dict(r.sources)) for r in of.nodes()]

    assert told(store) == told(truth.store)
    assert sorted(store.node_names()) == [row.node for row in store.nodes()]
    assert store.jobs() == truth.store.jobs()
    for report in truth.reports:
        found = store.layout(report.node, report.layout_hash)
        assert found is not None
        assert found.hash == report.layout_hash
    assert store.layout("n1", 1) is store.layout("", 0) is None


def test_some_jobs_are_told_as_all_are(store: Store) -> None:
    """Those without an end, and pages of any choice of jobs, are as if picked out of all."""
    every = picked_of(store.jobs())
    nodes = {row.node for row in store.jobs()}
    assert len(nodes) > 1
    assert sorted(store.open_jobs()) == sorted(every.open_jobs())
    for asked in choices(Random(1), store.jobs(), 20):
        assert store.newest_jobs(asked) == every.newest_jobs(asked), asked
