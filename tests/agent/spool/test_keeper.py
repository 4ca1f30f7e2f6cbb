"""At a spool's bound energy is kept before detail, and no joule is booked twice or lost unsaid."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.outbox import Entry
from joulebook.agent.spool.keeper import Bounds
from joulebook.agent.spool.spool import Spool
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.v1 import report_pb2
from tests.agent.spool.conftest import Source
from tests.simulated.delivery import EVER, decoded, deliver, energy_uj, total_uj
from tests.simulated.node import BOOT

SMALL = Bounds(max_bytes=8 * 3000)


def _store(source: Source, *batches: list[Entry]) -> DuckDBStore:
    """Book batches as a collector does, by Layouts as they came with the Reports."""
    store = DuckDBStore(":memory:")
    for batch in batches:
        for entry in batch:
            source.node.layouts[entry.report.layout_hash] = entry.layout
    deliver(store, [decoded(source.node, [entry.report for entry in batch]) for batch in batches])
    return store


def _drain(spool: Spool) -> list[Entry]:
    return list(iter(spool.next_kept, None))


def _first_us(entry: Entry) -> int:
    return entry.report.sequence


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_books_are_whole_whatever_the_bound_did(data: st.DataObject) -> None:
    """Puts, sends, acknowledgements and a bound in any order: the books hold what was measured, once."""
    directory = Path(tempfile.mkdtemp(prefix="spool-"))
    source = Source()
    # One domain is modelled: what is known of it is what the agent counted.
    source.node.domains = [*source.node.domains, ("disk.a", report_pb2.SOURCE_KIND_MODEL)]
    source.node.__post_init__()
    source.new_layout()
    spool = Spool(directory / "spool", boot=BOOT, bounds=SMALL, clock=lambda: 0)
    received: list[Entry] = []
    handed: list[Entry] = []
    try:
        for _ in range(data.draw(st.integers(20, 120))):
            match data.draw(st.sampled_from(["put", "put", "put", "job", "send", "lose", "ack", "bound"])):
                case "put":
                    spool.put(source.entry(data.draw(st.integers(1, 10))))
                case "job":
                    source.new_layout()
                case "send":
                    entry = spool.next_kept()
                    handed += [entry] if entry else []
                case "lose":
                    # The collector has what was sent, but its answer is lost.
                    received += handed
                    handed = []
                    spool.rewind()
                case "ack" if handed:
                    received.append(handed.pop())
                    spool.remove(received[-1].key)
                case "bound":
                    spool.keeper.keep_bounds()
        spool.put(source.entry())
        received += handed
        spool.rewind()
        spool.keeper.keep_bounds()
        assert spool.size_bytes() <= SMALL.max_bytes
        left = _drain(spool)
        assert left == sorted(left, key=_first_us)
        store = _store(source, data.draw(st.permutations(received)), data.draw(st.permutations(left)))
        everything = received + left
        first_us = min(_first_us(entry) for entry in everything)
        before_uj = source.node.measured_uj - _since(source, first_us)
        assert total_uj(store) == source.node.measured_uj - before_uj
        if not spool.counts.dropped:
            assert energy_uj(store, "unattributed") == 0
            assert first_us == min(sequence for _, sequence in source.given)
        store.close()
    finally:
        spool.close()
        shutil.rmtree(directory)


def _since(source: Source, first_us: int) -> int:
    """Return what the meters delivered in the Reports that begin at a time or later."""
    total = 0
    for (_, sequence), data in source.given.items():
        if sequence >= first_us:
            report = report_pb2.Report.FromString(data)
            layout = report_pb2.Layout.FromString(source.node.layouts[report.layout_hash])
            width = len(report.interval_us) + 1
            for row, (metric, domain) in enumerate(
                zip(layout.series_metric, layout.series_domain, strict=True)
            ):
                if metric == 1 and domain:
                    total += sum(report.values[row * width + 1 : (row + 1) * width])
    return total


def test_thinned_first_then_joined_then_dropped(tmp_path: Path, source: Source) -> None:
    """As more and more waits, detail goes first, then the division in Reports, and only then energy."""
    spool = Spool(tmp_path, boot=BOOT, bounds=SMALL, clock=lambda: 0)
    seen = []
    # Each Report has its own layout, so that few can be joined and the bound bites at last.
    for number in range(400):
        if number % 3 == 0:
            source.new_layout()
        spool.put(source.entry())
        spool.keeper.keep_bounds()
        assert spool.size_bytes() <= SMALL.max_bytes
        counts = spool.counts
        for name in ("thinned", "joined", "dropped"):
            if getattr(counts, name) and name not in seen:
                seen.append(name)
    assert seen == ["thinned", "joined", "dropped"]
    left = _drain(spool)
    # A Report of the newest is as it was measured.
    assert left[-1].report.SerializeToString() == source.given[left[-1].key]
    (found,) = spool.findings()
    assert found.state == report_pb2.SOURCE_STATE_SUSPECT
    assert f"{spool.counts.dropped} reports dropped" in found.reason
    spool.close()


def test_what_may_have_been_received_is_not_changed(tmp_path: Path, source: Source) -> None:
    """Reports that were sent without an answer come out bit for bit, whatever the bound did around them."""
    spool = Spool(tmp_path, boot=BOOT, bounds=Bounds(max_bytes=8 * 6000), clock=lambda: 0)
    for _ in range(20):
        spool.put(source.entry())
    sent = [entry for _ in range(5) if (entry := spool.next_kept())]
    spool.rewind()
    for _ in range(150):
        spool.put(source.entry())
    spool.keeper.keep_bounds()
    assert spool.counts.thinned
    assert not spool.counts.dropped
    left = {entry.key: entry.report for entry in _drain(spool)}
    assert [left[e.key].SerializeToString() for e in sent] == [source.given[e.key] for e in sent]
    spool.close()


def test_age_thins_before_it_drops(tmp_path: Path, source: Source) -> None:
    """At half the age a segment is thinned and joined, at the whole age it goes; the newest one stays."""
    now_us = source.node.now_us
    bounds = Bounds(max_bytes=8 << 14, max_age_us=1_000_000_000)
    spool = Spool(tmp_path, boot=BOOT, bounds=bounds, clock=lambda: now_us)
    for _ in range(100):
        spool.put(source.entry())
    now_us = source.node.now_us
    spool.keeper.keep_bounds()
    assert spool.counts.joined
    assert not spool.counts.dropped
    assert energy_uj(_store(source, _drain(spool)), "unattributed") == 0
    spool.rewind()
    now_us += bounds.max_age_us
    spool.keeper.keep_bounds()
    assert spool.counts.dropped
    assert 0 < len(spool) < 100
    spool.close()


def test_of_an_earlier_boot_only_this_boots_time_counts(tmp_path: Path, source: Source) -> None:
    """Reports of another boot are as old as this boot, and not thinned: they may have been sent."""
    spool = Spool(tmp_path, boot=BOOT)
    entries = [source.entry() for _ in range(5)]
    for entry in entries:
        spool.put(entry)
    spool.close()
    now_us = 1_000_000
    bounds = Bounds(max_age_us=1_000_000_000)
    spool = Spool(tmp_path, boot=bytes(16), bounds=bounds, clock=lambda: now_us)
    now_us = 900_000_000
    spool.keeper.keep_bounds()
    assert [e.report for e in _drain(spool)] == [e.report for e in entries]
    spool.rewind()
    now_us = 1_000_000_001
    spool.keeper.keep_bounds()
    assert (len(spool), spool.counts.dropped) == (0, 5)
    spool.close()


def test_the_keeper_syncs_while_reports_wait(tmp_path: Path, source: Source) -> None:
    """Its thread syncs when something has waited, and never while Reports are acknowledged as they come."""
    now_us = 0
    spool = Spool(tmp_path, boot=BOOT, clock=lambda: now_us, fsync_us=0)
    woken = []
    spool.keeper.wake = lambda: woken.append(1)  # type: ignore[method-assign]
    spool.put(source.entry())
    woken.clear()
    for _ in range(10):
        entry = spool.next_live()
        assert entry is not None
        spool.remove(entry.key)
        spool.put(source.entry())
    assert not woken
    spool.put(source.entry())
    assert woken
    spool.close()


@pytest.mark.parametrize("waiting", [0, 200])
def test_the_keepers_thread_ends_with_the_spool(tmp_path: Path, source: Source, waiting: int) -> None:
    """With its thread at work beside puts and sends, everything comes out once, and close() ends it."""
    spool = Spool(tmp_path, boot=BOOT, bounds=Bounds(max_bytes=1 << 20), fsync_us=0)
    spool.start()
    for _ in range(waiting):
        spool.put(source.entry())
    assert [entry.key for entry in _drain(spool)] == sorted(source.given, key=lambda key: key[1])
    spool.close()


def test_a_node_that_was_thinned_is_watched(tmp_path: Path, source: Source) -> None:
    """A thinned time was watched: no gap, and each job has its energy."""
    spool = Spool(tmp_path, boot=BOOT, bounds=SMALL, clock=lambda: 0)
    for number in range(120):
        if number == 60:
            source.new_layout()
        spool.put(source.entry())
    spool.keeper.keep_bounds()
    assert spool.counts.thinned
    store = _store(source, _drain(spool))
    assert sum(row.gap_us for row in store.watched(EVER)) == 0
    assert total_uj(store) == source.node.measured_uj
    jobs = {a.account: sum(a.active_uj) for a in store.accounts(EVER) if a.account.startswith("job:")}
    assert len(jobs) == 2
    truth = source.node.truth_uj
    # Memory's energy beyond its floor is nobody's here; CPU energy is by CPU time, exactly.
    assert all(abs(jobs[f"job:{name}"] - truth[name]) < 1_000 for name in truth)
    store.close()
    spool.close()
