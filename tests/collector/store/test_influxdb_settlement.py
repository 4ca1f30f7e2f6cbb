"""Any number of collectors settle the books in one InfluxDB, and whatever they do at once, books balance."""

from __future__ import annotations

import threading
from collections import Counter
from random import Random
from typing import Any

import pytest

from joulebook.collector.ledger.policy import Policy
from joulebook.collector.queries.audit import residuals_uj
from joulebook.collector.store.anew import HOUR_US
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.influxdb_settled import Pointer
from joulebook.collector.store.influxdb_settlement import InfluxSettlement
from joulebook.collector.store.opened import open_store
from joulebook.collector.store.protocol import StoreError
from tests.collector.store.hours import batches
from tests.collector.store.settled import LATER_US, settled_alone, settling
from tests.collector.store.test_conformance_settlement import JOBS, told, two_jobs, without_gaps
from tests.servers.influxdb import RunningInflux
from tests.simulated.delivery import EVER, books_of, deliver, total_uj


def _opened(address: str) -> InfluxStore:
    store = open_store(address)
    assert isinstance(store, InfluxStore)
    return store


def _settlement(store: InfluxStore) -> InfluxSettlement:
    return InfluxSettlement(store, Policy.RESERVED, settle_us=0)


def test_collectors_that_settle_at_once_replace_each_figure_once(influx: RunningInflux) -> None:
    """Four collectors that settle the same hours at the same time give what one does."""
    address = influx.fresh()
    nodes = [two_jobs(f"n{n}") for n in range(3)]
    deliver(_opened(address), [[one for own in nodes for one in own]])
    stores = [_opened(address) for _ in range(4)]
    live = told(stores[0])
    threads = [threading.Thread(target=lambda own=store: list(settling(own))) for store in stores]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert residuals_uj(stores[0], EVER) == {}
    for thread in threads:
        thread.join()
    wanted = settled_alone([one for own in nodes for one in own])
    assert without_gaps(stores[1]) == {key: row for key, row in wanted.items() if any(row)}
    for job, was in zip(told(stores[2]), live, strict=True):
        assert job[:3] == ("ended", True, 4)
        assert job[4][0].energy_uj == was[3]
    assert list(settling(stores[3])) == []
    for store in stores:
        store.close()


@pytest.mark.parametrize("seed", range(3))
def test_writes_that_come_late_unbalance_nothing(influx: RunningInflux, seed: int) -> None:
    """Collectors with different Reports in hand, whose writes are done in part, late, or never answered.

    At every moment the books balance; when all have come through, and those who met have looked again, they
    are what the hours make.
    """
    rng = Random(seed)
    address = influx.fresh()
    stores = [_opened(address) for _ in range(3)]
    keepers = [_settlement(store) for store in stores]
    waiting: list[tuple[InfluxStore, bytes, str]] = []
    failed: Counter[int] = Counter()

    def unsure(store: InfluxStore) -> Any:
        write = store._server.write

        def run(body: bytes, policy: str = "") -> None:
            match rng.randrange(8) if wild else 7:
                case 0:
                    waiting.append((store, body, policy))
                case 1:
                    lines = body.splitlines(keepends=True)
                    write(b"".join(lines[: rng.randrange(len(lines) + 1)]), policy)
                    waiting.append((store, body, policy))
                case 2:
                    write(body, policy)
                case _:
                    write(body, policy)
                    return
            failed[0] += 1
            raise StoreError("no answer")

        return write, run

    sent = []
    writes = [unsure(store) for store in stores]
    for batch in batches(rng):
        wild = False
        deliver(stores[rng.randrange(3)], [list(batch)])
        sent += batch
        wild = True
        for place in rng.sample(range(3), 2):
            store, (_, run) = stores[place], writes[place]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(store._server, "write", run)
                try:
                    for _ in keepers[place].steps(LATER_US):
                        assert residuals_uj(store, EVER) == {}
                except StoreError:
                    assert residuals_uj(store, EVER) == {}
            while waiting and rng.random() < 0.5:
                late, body, policy = waiting.pop(rng.randrange(len(waiting)))
                writes[stores.index(late)][0](body, policy)
                assert residuals_uj(store, EVER) == {}
    assert failed[0] > 5
    for late, body, policy in waiting:
        writes[stores.index(late)][0](body, policy)
        assert residuals_uj(stores[0], EVER) == {}
    for _ in range(2):
        for keeper in keepers:
            list(keeper.steps(LATER_US))
    wanted = {key: row for key, row in settled_alone(sent).items() if key[1] != "unattributed" and any(row)}
    assert without_gaps(stores[0]) == wanted
    for store in stores:
        store.close()


def test_who_wrote_into_what_counts_is_found_out(influx: RunningInflux) -> None:
    """Rows that another collector wrote over late count nowhere until that hour is settled again."""
    store = _opened(influx.fresh())
    reports = two_jobs()
    deliver(store, [reports])
    live = books_of(store)
    keeper = _settlement(store)
    list(keeper.steps(LATER_US))
    settled = books_of(store)
    assert settled != live
    ((key, own),) = keeper._booked.items()
    # The same row as one of another set of Reports: another figure under the same number.
    job = f"account=job:{JOBS[0]},booking={own.pointer.booking},node=n1"
    ((series,),) = store._server.query(f'SELECT * FROM "settled" WHERE "account" = \'job:{JOBS[0]}\' LIMIT 1')
    (row,) = series.rows()
    store._server.write(f"settled,{job} cpu_active_uj=1i,set=1i {row['time']}\n".encode())
    assert residuals_uj(store, EVER) == {}
    assert {k: r for k, r in books_of(store).items() if any(r)} == {k: r for k, r in live.items() if any(r)}
    assert list(keeper.steps(LATER_US)) == ["booked anew"]
    assert books_of(store) == settled
    assert keeper._booked[key].pointer.booking == own.pointer.booking + 1
    assert total_uj(store) == sum(sum(row[:12]) for row in live.values())
    store.close()


def test_what_another_program_left_is_found_at_the_start_and_daily(influx: RunningInflux) -> None:
    """Whoever settled an hour ended: others find that its rows are another set's, and settle it once more."""
    address = influx.fresh()
    store, *others = stores = [_opened(address) for _ in range(3)]
    reports = two_jobs()
    deliver(store, [reports])
    now_us = max(one.end_us + one.realtime_offset_us for one in reports) + HOUR_US
    list(_settlement(store).steps(now_us))
    settled = books_of(store)
    found = store._server.query(f'SELECT * FROM "settled" WHERE "account" = \'job:{JOBS[0]}\' LIMIT 1')
    (row,) = found[0][0].rows()

    def spoil(booking: int) -> None:
        tags = f"account=job:{JOBS[0]},booking={booking},node=n1"
        store._server.write(f"settled,{tags} cpu_active_uj=1i,set=1i {row['time']}\n".encode())
        assert books_of(store) != settled
        assert residuals_uj(store, EVER) == {}

    spoil(1)
    begun = [_settlement(each) for each in others]
    query, answers = others[0]._server.query, 0

    def unsure(*queries: str) -> Any:
        nonlocal answers
        if not answers:
            raise StoreError("no answer")
        answers -= 1
        return query(*queries)

    # Whichever of its questions the server leaves without an answer, the hours are not forgotten for that.
    for answered in range(5):
        answers = answered
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(others[0]._server, "query", unsure)
            with pytest.raises(StoreError):
                list(begun[0].steps(now_us))
    assert list(begun[0].steps(now_us)) == ["booked anew"]
    assert books_of(store) == settled
    # The other one finds it done. Who booked it watches it; the other one looks again a day later.
    assert list(begun[1].steps(now_us)) == []
    spoil(2)
    assert list(begun[1].steps(now_us + HOUR_US)) == []
    assert list(begun[1].steps(now_us + 24 * HOUR_US)) == ["booked anew"]
    assert books_of(store) == settled
    assert residuals_uj(store, EVER) == {}
    for each in stores:
        each.close()


def test_a_pointer_is_read_as_it_was_written() -> None:
    """What says which rows count is one text, with all sets that counted before."""
    for pointer in (Pointer(1, 2, 3, "reserved"), Pointer(4, (1 << 60) - 1, 1, "none", (5, 6))):
        assert Pointer.of(pointer.text) == pointer


def test_a_pointer_that_was_never_answered_is_watched_too(influx: RunningInflux) -> None:
    """Who wrote what counts, and did not hear so, still finds out when rows are written over late."""
    store = _opened(influx.fresh())
    deliver(store, [two_jobs()])
    keeper = _settlement(store)
    write = store._server.write

    def unanswered(body: bytes, policy: str = "") -> None:
        write(body, policy)
        if body.startswith(b"settled_hour"):
            raise StoreError("no answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._server, "write", unanswered)
        with pytest.raises(StoreError, match="no answer"):
            list(keeper.steps(LATER_US))
    settled = books_of(store)
    (series,) = store._server.query(f'SELECT * FROM "settled" WHERE "account" = \'job:{JOBS[0]}\' LIMIT 1')[0]
    (row,) = series.rows()
    tags = f"account=job:{JOBS[0]},booking={row['booking']},node=n1"
    write(f"settled,{tags} cpu_active_uj=1i,set=1i {row['time']}\n".encode())
    assert books_of(store) != settled
    assert list(keeper.steps(LATER_US)) == ["booked anew"]
    assert books_of(store) == settled
    store.close()
