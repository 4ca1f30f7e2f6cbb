"""Whatever Reports say that are not refused, their books are whole: none can hurt itself or others."""

import contextlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.collector.ingest.refusal import RefusalError
from joulebook.collector.ingest.values import check, refusals
from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.domains import STORAGE
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.settlement import settled_books
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.simulated.node import WALL_US, Load, SimulatedNode
from tests.simulated.powers import tell_powers

_TICKS = 3
_EXTREME = st.sampled_from(
    [0, 1, 999_999, 10**9, *(1 << bits for bits in (31, 40, 49, 50, 61, 62)), -(1 << 49)]
)


def _sent(*more: str) -> tuple[report_pb2.Layout, report_pb2.Report]:
    """Return a Report that has all that books are made by: disks of two tiers, a GPU, what was learnt."""
    names = (*more, "psys", "cpu.0", "cpu.1", "memory.0", "gpu.0", "disk.nvme0n1", "disk.sda")
    node = SimulatedNode(domains=[(name, report_pb2.SOURCE_KIND_COUNTER) for name in names])
    node.disk_tiers = {"disk.sda": report_pb2.DISK_TIER_HDD}
    node.begin(
        [
            Load("slurm.1", cpu_us=900_000, gpu_ppm={"gpu.0": 500_000}, disk_bytes={"disk.sda": 9}),
            Load("slurm.2", cpu_us=5, disk_bytes={"disk.nvme0n1": 7}),
            Load("sshd", kind=report_pb2.WORKLOAD_KIND_SYSTEM, cpu_us=100),
        ]
    )
    for _ in range(_TICKS):
        node.tick()
    report = node.report()
    tell_powers(node.layouts, report, 1000, {"slurm.1": (9000, 5), "slurm.2": (4000, 7)})
    return report_pb2.Layout.FromString(node.layouts[report.layout_hash]), report


def _taken(layout: report_pb2.Layout, report: report_pb2.Report) -> Decoded:
    decoded = decode_report(report, decode_layout(layout.SerializeToString()), WALL_US + 60_000_000, 1 << 50)
    if refused := refusals([decoded]):
        raise refused[0]
    check(decoded.readings)
    return decoded


def _leave_out(layout: report_pb2.Layout, report: report_pb2.Report, series: int) -> None:
    for name in ("series_metric", "series_domain", "series_device", "series_workload"):
        del getattr(layout, name)[series]
    del report.values[series * (_TICKS + 1) : (series + 1) * (_TICKS + 1)]


def _is_whole(books: Books) -> None:
    assert not books.residual_uj.any()
    figures = (books.active_uj, books.idle_uj, books.tier_uj)
    errors = (books.modelled_uj, books.systematic_uj, books.variance_uj2)
    assert min(int(each.min(initial=0)) for each in (*figures, *errors)) == 0
    storage_uj = books.active_uj[:, STORAGE] + books.idle_uj[:, STORAGE]
    assert (books.tier_uj.sum(axis=1) <= storage_uj).all()


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_whatever_is_not_refused_is_booked_whole(data: st.DataObject) -> None:
    """Extreme levels, jumps, lengths, reservations, steps and missing series are refused or booked to 0."""
    layout, report = _sent()
    kept = len(layout.series_metric)
    for series, place, value in data.draw(
        st.lists(st.tuples(st.integers(0, kept - 1), st.integers(0, _TICKS), _EXTREME), max_size=4)
    ):
        report.values[series * (_TICKS + 1) + place] = value
    if data.draw(st.booleans()):
        report.interval_us[0] = data.draw(st.sampled_from([1, (1 << 32) - 1]))
    for workload in layout.workloads:
        workload.reserved_millicpus = data.draw(st.sampled_from([0, 0, 1 << 30]))
        workload.reserved_memory_bytes = data.draw(st.sampled_from([0, 0, 1 << 50]))
        workload.cpu_domain.extend(data.draw(st.sampled_from([(), (), (2,), (2, 3)])))
    for domain in layout.domains:
        domain.resolution_uj = data.draw(st.sampled_from([61, 61, 1 << 50]))
        domain.accuracy_ppm = data.draw(st.sampled_from([30_000, 30_000, (1 << 32) - 1]))
    for series in sorted(data.draw(st.sets(st.integers(0, kept - 1), max_size=2)), reverse=True):
        _leave_out(layout, report, series)
    with contextlib.suppress(RefusalError), warnings.catch_warnings():
        decoded = _taken(layout, report)
        # An overflow of floats says so.
        warnings.simplefilter("error")
        for policy in Policy:
            _is_whole(book([decoded.readings], policy))
        _is_whole(settled_books([decoded.readings], [decoded.start]))


@pytest.mark.parametrize(
    ("metric", "level", "says"),
    [
        (m.METRIC_WORKLOAD_CPU_POWER, 1_000_000_001, r"cpu_power_mw of slurm\.1: above 1000000000 mW"),
        (m.METRIC_NODE_OTHERS_CPU_POWER, 1 << 50, "others_cpu_power_mw of n1: above 1000000000 mW"),
        (m.METRIC_WORKLOAD_CPU_POWER_ERROR, 1_000_001, r"error_ppm of slurm\.1: above 1000000 ppm"),
        (m.METRIC_DOMAIN_IDLE_POWER, 1 << 40, "idle_power_mw of psys: above 1000000000 mW"),
        (
            m.METRIC_WORKLOAD_MEMORY,
            1 << 62,
            "all series count and show more than 4611686018427387904 together",
        ),
    ],
)
def test_levels_beyond_belief_are_refused(metric: int, level: int, says: str) -> None:
    """What no CPU, domain or machine shows is refused, naming the series, the value's unit and the most."""
    layout, report = _sent()
    series = list(layout.series_metric).index(metric)
    report.values[series * (_TICKS + 1)] = level
    with pytest.raises(RefusalError, match=says):
        _taken(layout, report)


@pytest.mark.parametrize("left_out", [m.METRIC_WORKLOAD_CPU_POWER, m.METRIC_WORKLOAD_CPU_POWER_ERROR])
def test_half_of_what_was_learnt_spoils_nobody_s_books(left_out: int) -> None:
    """Powers without errors, or errors without powers, are booked, and Reports beside them as alone."""
    layout, report = _sent()
    whole = _taken(layout, report).readings
    for series in reversed(range(len(layout.series_metric))):
        if layout.series_metric[series] == left_out:
            _leave_out(layout, report, series)
    half = _taken(layout, report).readings
    both, alone = book([half, whole]), book([whole])
    _is_whole(both)
    np.testing.assert_array_equal(both.active_uj[both.report == 1], alone.active_uj)
    np.testing.assert_array_equal(both.systematic_uj[both.report == 1], alone.systematic_uj)


@pytest.mark.parametrize("silent", ["node", "psys", "cpu.0", "disk.sda"])
def test_a_domain_without_energy_is_as_if_it_were_not_there(silent: str) -> None:
    """What a Report names and tells no energy of contains nothing, whatever Reports it is booked beside."""
    layout, report = _sent("node")
    whole = _taken(layout, report).readings
    place = [domain.name for domain in layout.domains].index(silent) + 1
    energy = zip(layout.series_metric, layout.series_domain, strict=True)
    _leave_out(layout, report, list(energy).index((m.METRIC_DOMAIN_ENERGY, place)))
    less = _taken(layout, report).readings
    together, alone = book([less, whole]), book([less])
    _is_whole(together)
    _is_whole(alone)
    np.testing.assert_array_equal(together.active_uj[together.report == 0], alone.active_uj)
    np.testing.assert_array_equal(together.idle_uj[together.report == 0], alone.idle_uj)
