"""Ticks become Reports that tile time and lose nothing, whatever comes, goes or fails between them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.source import ABSENT, WORKING
from joulebook.collector.ledger.book import book
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from tests.agent.sampler_bench import GPU_UJ, Bench
from tests.simulated.delivery import deliver, total_uj
from tests.simulated.sources import RANGE_UJ


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a sampler on a made-up machine."""
    return Bench(tmp_path)


def test_reports_tile_the_clock(bench: Bench) -> None:
    """Each Report begins where the last one ended, at the same readings, and a wrap is no step back."""
    for _ in range(12):
        bench.tick()
    reports = bench.decoded()
    assert [d.readings.interval_us.tolist() for d in reports] == [[1_000_000] * 4] * 3
    assert [d.start_us for d in reports[1:]] == [d.end_us for d in reports[:-1]]
    assert bench.series(0, metrics.METRIC_DOMAIN_ENERGY, "cpu.0") == [RANGE_UJ - 5_000_000] + [1_000_000] * 4
    assert bench.series(2, metrics.METRIC_DOMAIN_ENERGY, "cpu.0") == [RANGE_UJ + 3_000_000] + [1_000_000] * 4


def test_a_wall_clock_that_steps_back_moves_no_interval(bench: Bench) -> None:
    """The books run on the boot clock: an hour back on the wall changes only what the wall shows."""
    for number in range(8):
        if number == 2:
            bench.wall_us -= 3_600_000_000
        bench.tick()
    first, second = (report for report, _ in bench.reports)
    assert second.sequence == first.sequence + 4_000_000
    assert second.realtime_offset_us == bench.wall_us


def test_a_workload_that_appears_is_counted_from_its_birth(bench: Bench) -> None:
    """All that a new workload used in its first interval is its own, and a new layout begins before it."""
    bench.tick()
    bench.group("system.slice/b.service", 300_000)
    bench.tick()
    bench.sampler.cut()
    assert len(bench.reports) == 2
    assert bench.series(1, metrics.METRIC_WORKLOAD_CPU, "unit.b.service") == [0, 300_000]
    assert bench.series(1, metrics.METRIC_WORKLOAD_CPU, "unit.a.service") == [1_000, 0]


def test_what_was_split_by_guess_is_told(bench: Bench) -> None:
    """How much CPU time of workloads that ended together may be another's goes with the Report."""
    for letter in "abc":
        bench.group(f"docker/{letter * 64}", 10)
    bench.group("docker", 30)
    bench.tick()
    bench.group("docker", 2_000_030)
    bench.remove("docker/" + "a" * 64)
    bench.remove("docker/" + "b" * 64)
    bench.tick()
    bench.sampler.cut()
    (told,) = [s for r, _ in bench.reports for s in r.sources if s.name == "workloads.ended"]
    assert told.reason.startswith("2.000 s")


def test_a_workload_that_vanishes_ends_its_layout(bench: Bench) -> None:
    """A workload that is gone is in no later layout, and the Reports still tile the clock."""
    bench.tick()
    bench.remove("system.slice/a.service")
    bench.tick()
    bench.tick()
    bench.sampler.cut()
    reports = bench.decoded()
    assert "unit.a.service" not in {s.workload for s in reports[-1].readings.layout.series}
    assert [d.start_us for d in reports[1:]] == [d.end_us for d in reports[:-1]]


def test_a_source_that_fails_is_said_once_and_its_last_values_stand(bench: Bench) -> None:
    """A failing source takes nothing else down; it is reported when it fails and when it works again."""
    bench.usage.busy_us = 500
    bench.tick()
    bench.usage.error = "gone away"
    bench.tick()
    bench.tick()
    bench.usage.error, bench.usage.busy_us = "", 900
    bench.tick()
    bench.tick()
    bench.sampler.cut()
    assert bench.series(0, metrics.METRIC_NODE_CPU_BUSY) == [0, 500, 0, 0, 400]
    states = {(s.name, s.state) for report, _ in bench.reports for s in report.sources}
    assert ("usage", report_pb2.SOURCE_STATE_WORKING) in states
    (first, _), *_ = bench.reports
    assert [s.reason for s in first.sources if s.name == "usage"] == [""]


def test_a_counter_that_is_reset_begins_a_new_layout(bench: Bench) -> None:
    """After a reset the layout says by how much the series is off the hardware, for a later session."""
    for _ in range(10):
        bench.tick()
    bench.meter.raw_uj += RANGE_UJ // 2
    for _ in range(3):
        bench.tick(1_000)
    bench.sampler.cut()
    offsets = [d.readings.layout.message.domains[0].offset_uj for d in bench.decoded()]
    assert offsets[0] == 0
    assert offsets[-1] == bench.meter.counter.offset_uj != offsets[0]
    assert all(min(d.readings.values[0, 1:], default=0) >= 0 for d in bench.decoded())


def test_a_source_joins_and_leaves(bench: Bench) -> None:
    """Plugged in, a meter's series begin at that tick with what it shows there; pulled out, they end."""
    bench.tick()
    bench.plugged.present = True
    for _ in range(3):
        bench.tick()
    bench.plugged.present = False
    bench.tick()
    bench.tick()
    bench.sampler.cut()
    reports = bench.decoded()
    assert [d.start_us for d in reports[1:]] == [d.end_us for d in reports[:-1]]
    domains = [list(d.readings.layout.domain_names) for d in reports]
    assert domains == [["cpu.0"], ["gpu.0", "cpu.0"], ["cpu.0"]]
    assert bench.series(1, metrics.METRIC_DOMAIN_ENERGY, "gpu.0") == [7_000_000 + 2 * GPU_UJ] + [GPU_UJ] * 3
    assert bench.series(1, metrics.METRIC_DOMAIN_ENERGY, "cpu.0")[1:] == [1_000_000] * 3
    told = [s.state for report, _ in bench.reports for s in report.sources if s.name == "plugged"]
    assert told == [WORKING, ABSENT]


ACTIONS = st.one_of(
    st.tuples(st.just("tick"), st.integers(0, 150_000_000)),
    st.tuples(st.just("use"), st.sampled_from("abc"), st.integers(0, 900_000)),
    st.tuples(st.just("remove"), st.sampled_from("abc")),
    st.tuples(st.just("flash"), st.sampled_from("xyz")),
    st.tuples(st.just("miss")),
    st.tuples(st.just("fail")),
    st.tuples(st.just("cut")),
    st.tuples(st.just("plug")),
)


@settings(max_examples=60, deadline=None)
@given(actions=st.lists(ACTIONS, min_size=3, max_size=25))
def test_what_the_counter_delivered_is_booked(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[Any, ...]]
) -> None:
    """Workloads come, go and flash by, reads fail and recover: the books hold what the counter delivered."""
    bench = Bench(tmp_path_factory.mktemp("node"))
    begin_uj, used = bench.meter.counter.energy_uj, {"a": 1_000}
    delivered_uj = plugged_uj = 0
    for action, *details in actions:
        match action:
            case "tick":
                (energy_uj,) = details
                plugged_uj += GPU_UJ * bench.plugged.told
                delivered_uj += int(energy_uj)
                bench.tick(int(energy_uj))
                bench.meter.broken, bench.usage.error = False, ""
            case "use":
                name, more_us = str(details[0]), int(details[1])
                used[name] = used.get(name, 0) + more_us
                bench.usage.busy_us += more_us
                bench.group(f"system.slice/{name}.service", used[name])
            case "remove" if details[0] in used:
                del used[str(details[0])]
                bench.remove(f"system.slice/{details[0]}.service")
            case "flash":
                bench.group(f"system.slice/{details[0]}.service", 5_000)
                bench.remove(f"system.slice/{details[0]}.service")
            case "miss":
                bench.meter.broken = True
            case "fail":
                bench.usage.error = "unreadable"
            case "cut":
                bench.sampler.cut()
            case "plug":
                bench.plugged.present = not bench.plugged.present
    bench.meter.broken = False
    plugged_uj += GPU_UJ * bench.plugged.told
    bench.tick(0)
    bench.sampler.cut()
    reports = bench.decoded()
    books = book([d.readings for d in reports])
    assert not books.residual_uj.any()
    assert bench.meter.counter.energy_uj - begin_uj == delivered_uj
    assert int(books.measured_uj.sum()) == delivered_uj + plugged_uj
    store = DuckDBStore(":memory:")
    deliver(store, [reports])
    assert total_uj(store) == delivered_uj + plugged_uj
    store.close()
    bench.workloads.close()


def test_where_jobs_share_a_node_reports_tell_what_their_cpus_draw(bench: Bench) -> None:
    """Two jobs' Reports end with what was learnt of both, the same all along; one job's end as they did."""
    learnt = (metrics.METRIC_NODE_OTHERS_CPU_POWER, metrics.METRIC_WORKLOAD_CPU_POWER)
    scope = "system.slice/slurmstepd.scope"
    cpu_us = dict.fromkeys(("job_1", "job_2"), 0)

    def work(*jobs: str) -> None:
        for turn in range(8):
            for job in jobs:
                cpu_us[job] += 1_000_000 + turn % 3 * 300_000
                bench.usage.busy_us += 1_000_000 + turn % 3 * 300_000
                bench.group(f"{scope}/{job}", cpu_us[job])
            bench.tick(40_000_000 + 9_000_000 * len(jobs))

    bench.group(scope, 0)
    for _ in range(8):
        bench.tick(20_000_000)
    work("job_1")
    alone = bench.decoded()
    assert not any(metric in one.readings.layout.metrics for one in alone for metric in learnt)
    work("job_1", "job_2")
    for number, one in list(enumerate(bench.decoded()))[len(alone) + 2 :]:
        for job in cpu_us:
            first, *changes = bench.series(number, metrics.METRIC_WORKLOAD_CPU_POWER, f"slurm.{job[4:]}")
            assert first > 0
            assert not any(changes)
        assert not book([one.readings]).residual_uj.any()
