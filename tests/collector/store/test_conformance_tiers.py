"""Every kind of store tells what each account had of each tier of disks, live and settled."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.domains import STORAGE
from joulebook.collector.queries.figures import ByTier
from joulebook.collector.queries.jobs import get_job
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.store.victoriametrics.content import Content, contents_of
from joulebook.v1 import report_pb2
from tests.collector.store.conftest import Kind
from tests.collector.store.settled import settled_alone, settling
from tests.simulated.delivery import EVER, books_of, decoded, deliver
from tests.simulated.node import Load, SimulatedNode

COUNTER = report_pb2.SOURCE_KIND_COUNTER
DISKS = ("disk.nvme0n1", "disk.nvme1n1", "disk.sda", "disk.sdb", "disk.sdc")
TIERS = {
    "disk.nvme1n1": report_pb2.DISK_TIER_NVME,
    "disk.sda": report_pb2.DISK_TIER_HDD,
    "disk.sdb": report_pb2.DISK_TIER_SSD,
    "disk.sdc": report_pb2.DISK_TIER_VIRTUAL,
}


def _reports(seed: int) -> tuple[SimulatedNode, list[report_pb2.Report]]:
    """Return a node of two jobs that use all disks, each otherwise in each Report; one comes and goes."""
    rng = Random(seed)
    node = SimulatedNode(
        domains=[("cpu.0", COUNTER), *((disk, COUNTER) for disk in DISKS)],
        disk_tiers=TIERS,
        disk_idle_mw=300,
        disk_uj_per_mib=dict.fromkeys(DISKS, 7_001),
    )
    sent = []
    for number in range(8):
        jobs = ["slurm.1", "slurm.2"][: 1 + number % 2]
        loads = [
            Load(
                job,
                cpu_us=rng.randrange(1, 900_000),
                disk_bytes={disk: rng.randrange(1, 1 << 30) for disk in DISKS},
                start_unix_us=node.wall_us,
            )
            for job in jobs
        ]
        node.begin(loads)
        for _ in range(rng.randrange(1, 5)):
            node.tick()
        sent.append(node.report())
    return node, sent


def test_tiers_are_those_of_the_books(kind: Kind) -> None:
    """What is told of each tier is what was booked, and with what is of no known tier it is storage's."""
    store = kind.opened()
    node, sent = _reports(1)
    reports = decoded(node, sent)
    deliver(store, [reports[:3], reports[3:]])
    kind.delivered()
    expected: dict[str, list[int]] = {}
    # DuckDB's hours are settled when it is tended.
    made = settled_alone(reports) if kind.name == "duckdb tended" else None
    if made is None:
        books = book([one.readings for one in reports])
        for name, tiers in zip(books.account, books.tier_uj.tolist(), strict=True):
            own = expected.setdefault(name, [0, 0, 0])
            own[:] = [a + b for a, b in zip(own, tiers, strict=True)]
    else:
        expected = {name: list(row[12:15]) for (_, name), row in made.items()}
    rows = {row.account: row for row in store.accounts(EVER)}
    assert {name: list(row.tier_uj) for name, row in rows.items()} == expected
    assert all(rows["job:slurm.1"].tier_uj)
    told = get_job(store, "slurm.1")
    of_job = rows["job:slurm.1"]
    storage_uj = of_job.active_uj[STORAGE] + of_job.idle_uj[STORAGE]
    nvme, ssd, hdd = of_job.tier_uj
    assert told.storage_by_tier == ByTier(nvme, ssd, hdd, storage_uj - nvme - ssd - hdd)
    assert told.storage_by_tier.other > 0
    for account in get_ledger(store, node=None, from_us=0, to_us=EVER.to_us).accounts:
        of = account.storage_by_tier
        assert of.nvme + of.ssd + of.hdd + of.other == account.by_domain.storage
        assert [of.nvme, of.ssd, of.hdd] == expected[account.account]


@pytest.mark.parametrize("kind", ["duckdb", "influxdb", "victoriametrics"], indirect=True)
def test_tiers_of_settled_books_are_what_the_hour_makes(kind: Kind) -> None:
    """When hours are booked anew, each tier is split as they say, and every tier's sum stays."""
    store = kind.opened()
    node, sent = _reports(2)
    reports = decoded(node, sent)
    deliver(store, [reports])
    live = books_of(store)
    for _ in settling(store):
        pass
    settled = {key: row for key, row in books_of(store).items() if any(row)}
    assert settled == {key: row for key, row in settled_alone(reports).items() if any(row)}
    assert settled != live
    for place in range(12, 15):
        assert sum(row[place] for row in settled.values()) == sum(row[place] for row in live.values()) > 0


def test_what_was_kept_before_there_were_tiers_is_read() -> None:
    """Rows that wait for VictoriaMetrics since before the upgrade have no tier, and all else as it was."""
    node, sent = _reports(3)
    reports = decoded(node, sent)
    (content, *_) = contents_of(reports, book([one.readings for one in reports]))
    without = np.delete(content.rows, [12, 13, 14], axis=1)
    layout = reports[0].readings.layout
    read = Content.unpacked(Content(content.values, content.accounts, without).compressed(), layout)
    assert (np.delete(read.rows, [12, 13, 14], axis=1) == without).all()
    assert not read.rows[:, 12:15].any()
    assert read.accounts == content.accounts
    assert (Content.unpacked(content.compressed(), layout).rows == content.rows).all()
