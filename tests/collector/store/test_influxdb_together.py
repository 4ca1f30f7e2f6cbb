"""Collectors that write into one InfluxDB at the same moment keep the books that one alone would."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from random import Random

import pytest

from joulebook.agent.wall_clock import WallClock
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.protocol import Range, Store
from tests.collector.store.histories import history
from tests.collector.store.told import READS, tails
from tests.servers.influxdb import RunningInflux
from tests.simulated.delivery import EVER, books_of, decoded, deliver, energy_uj, total_uj
from tests.simulated.node import TICK_US, Load, SimulatedNode


def _rows(store: Store, reports: Sequence[Decoded]) -> dict[tuple[str, int], object]:
    """Return what each account received in each Report, of which no two of a node end at one time."""
    rows = {}
    for one in reports:
        end_us = one.end_us + one.realtime_offset_us
        rows[one.node, end_us] = READS["accounts"](store, Range(end_us - 1, end_us, one.node))
    return rows


def _at_once(address: str, shares: Sequence[Sequence[Sequence[Decoded]]]) -> None:
    """Have a collector for each share deliver its batches, all at once."""
    stores = [InfluxStore(address) for _ in shares]
    begin = threading.Barrier(len(shares))
    failed: list[BaseException] = []

    def run(store: InfluxStore, batches: Sequence[Sequence[Decoded]]) -> None:
        try:
            for batch in batches:
                begin.wait()
                deliver(store, [batch])
        except BaseException as error:
            begin.abort()
            failed.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(stores, shares, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    if failed:
        raise failed[0]


@pytest.mark.parametrize("seed", range(4))
def test_two_collectors_at_once(influx: RunningInflux, seed: int) -> None:
    """Overlapping, repeated and shuffled Reports sent to two at once make the rows that one makes of each."""
    nodes = [SimulatedNode(name=name) for name in ("n1", "n2")]
    reports = [one for node in nodes for one in history(node)]
    truth = DuckDBStore(":memory:")
    deliver(truth, [reports])
    rng = Random(seed)
    shares = []
    for own in (reports[:11], reports[5:]):
        sent = [*own, *rng.sample(own, 4)]
        rng.shuffle(sent)
        shares.append([sent[i : i + 3] for i in range(0, 15, 3)])
    address = influx.fresh()
    _at_once(address, shares)
    store = InfluxStore(address)
    assert _rows(store, reports) == _rows(truth, reports)
    assert books_of(store) == books_of(truth)
    assert tails(store) == tails(truth)
    for read in ("accounts", "booked", "watched", "raw_energy", "raw_gaps", "over_time", "points"):
        assert READS[read](store, EVER) == READS[read](truth, EVER), read
    ledger = get_ledger(store, node=None, from_us=0, to_us=EVER.to_us)
    assert (ledger.measured_uj, ledger.residual_uj) == (sum(node.measured_uj for node in nodes), 0)
    assert total_uj(store) == ledger.measured_uj
    store.close()
    truth.close()


@pytest.mark.parametrize("turns", ["ABABABAB", "AAAABBBB", "BAABABBA"])
def test_a_clock_set_back_between_two_collectors(influx: RunningInflux, turns: str) -> None:
    """Intervals that end at the same times keep all their energy though each collector knows only its own."""
    node, clock = SimulatedNode(), WallClock(None)
    node.begin([Load("slurm.1", cpu_us=2_000_000)])
    sent = []
    for number in range(len(turns)):
        for _ in range(4):
            node.tick()
        sent.append(node.report())
        clock.stamp(sent[-1])
        # Set back over all that was, twice, and over half a Report.
        node.wall_us -= {2: 12, 4: 20, 6: 2}.get(number, 0) * TICK_US
    assert [one.wall_clock for one in sent] == [0, 0, 0, 1, 1, 2, 2, 3]
    reports = decoded(node, sent)
    address = influx.fresh()
    stores = {name: InfluxStore(address) for name in "AB"}
    for name, one in zip(turns, reports, strict=True):
        deliver(stores[name], [[one]])
    for store in stores.values():
        assert total_uj(store) == node.measured_uj
        assert energy_uj(store, "unattributed") == 0
        assert get_ledger(store, node=None, from_us=0, to_us=EVER.to_us).residual_uj == 0
    # Told again, of what the other has too, they book nothing.
    books = books_of(stores["A"])
    for store in stores.values():
        assert deliver(store, [reports]).duplicates == len(reports)
        assert books_of(store) == books
        store.close()
