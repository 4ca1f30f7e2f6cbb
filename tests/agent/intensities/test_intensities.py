"""What every Report ends with where several jobs share a node, and where nothing is told."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from joulebook.agent.intensities.intensities import Intensities
from joulebook.agent.intensities.seen import Columns, parts_of
from joulebook.agent.source import Domain, Series
from joulebook.agent.workloads.workload import JOB, SYSTEM, Workload, WorkloadKind
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2


def _node(packages: int, step: int = 1) -> tuple[list[Series], list[Domain]]:
    series, domains = [Series(m.METRIC_NODE_CPU_BUSY)], []
    for name in (f"cpu.{step * i}" for i in range(packages)):
        domains.append(Domain(name, "rapl", report_pb2.SOURCE_KIND_COUNTER, 61, 1000, 30_000))
        series += [
            Series(metric, domain=name)
            for metric in (m.METRIC_DOMAIN_ENERGY, m.METRIC_DOMAIN_UNREAD, m.METRIC_DOMAIN_IDLE_POWER)
        ]
        series.append(Series(m.METRIC_DEVICE_CPUS_BUSY, device=name))
    return series, domains


def _blocks(workloads: list[Workload]) -> list[tuple[Series, ...]]:
    return [(Series(m.METRIC_WORKLOAD_CPU, workload=w.id),) for w in workloads]


def _begun(
    workloads: list[Workload], packages: int = 1, kind: report_pb2.SourceKind.ValueType | None = None
) -> Intensities:
    series, domains = _node(packages)
    if kind is not None:
        domains = [Domain(d.name, d.source, kind, 61, 1000, 30_000) for d in domains]
    intensities = Intensities(8)
    intensities.begin(series, domains, workloads, _blocks(workloads))
    return intensities


def _workload(name: str, kind: WorkloadKind = JOB, parent: str = "", job: str = "") -> Workload:
    return Workload(name, kind, "test", parent=parent, job=job)


def test_where_jobs_do_not_share_nothing_is_told() -> None:
    """One job, more than 64, no packages, modelled packages, or told not to: no series."""
    two = [_workload("a"), _workload("b")]
    assert _begun(two).series
    assert not _begun(two[:1]).series
    assert not _begun([_workload("a"), _workload("b", parent="a", job="a")]).series
    assert not _begun([_workload(str(i)) for i in range(65)]).series
    assert not _begun(two, packages=0).series
    assert not _begun(two, kind=report_pb2.SOURCE_KIND_MODEL).series
    off = Intensities(0)
    off.begin(*_node(1), two, _blocks(two))
    assert not off.series
    assert _begun(two[:1]).learn([0, 1_000_000], [[0] * 6, [0] * 6]) == []


def test_a_job_of_several_workloads_has_one_series_of_each_kind() -> None:
    """Whatever stands in several places is one job; services have one figure together."""
    told = _begun([_workload("s", SYSTEM), _workload("a"), _workload("a2", job="a"), _workload("b")]).series
    assert [(each.metric, each.workload) for each in told] == [
        (m.METRIC_NODE_OTHERS_CPU_POWER, ""),
        *((m.METRIC_WORKLOAD_CPU_POWER, name) for name in ("b", "a")),
        *((m.METRIC_WORKLOAD_CPU_POWER_ERROR, name) for name in ("b", "a")),
    ]


def _columns(workloads: list[Workload], packages: int = 1) -> Columns:
    columns = _begun(workloads, packages)._columns
    assert columns is not None
    return columns


def test_what_a_workload_contains_of_others_is_theirs() -> None:
    """A job's use is without that of a job and a service in it, and with that of a part of itself."""
    workloads = [
        _workload("a"),
        _workload("a.1", parent="a", job="a"),
        _workload("b", parent="a"),
        _workload("s", SYSTEM, parent="a.1"),
    ]
    columns = _columns(workloads)
    rows = [[0] * 9, [9_000_000, 50_000_000, 0, 20_000, 9_000_000, 7_000_000, 3_000_000, 2_000_000, 500_000]]
    ((part,),) = parts_of(columns, [0, 1_000_000], rows)
    assert part.busy == pytest.approx({"job:a": 4.5, "job:b": 2.0})
    assert part.others == pytest.approx(2.5)
    assert (part.drawn_w, part.beyond_w) == (50.0, 30.0)


def test_packages_are_told_apart_as_the_ledger_does() -> None:
    """A cpuset's job is on its package, one without where time is left; without cpusets all are one."""
    bound = Workload("a", JOB, "test", packages=(0,))
    free = [_workload("b"), _workload("s", SYSTEM)]
    first = [0] * 12
    last = [
        9_000_000,
        60_000_000,
        0,
        0,
        5_000_000,
        20_000_000,
        1,
        0,
        4_000_000,
        4_000_000,
        4_500_000,
        500_000,
    ]
    ((one, two),) = parts_of(_columns([bound, *free], 2), [0, 1_000_000], [first, last])
    assert one.busy == pytest.approx({"job:a": 4.0, "job:b": 0.9})
    assert two.busy == pytest.approx({"job:b": 3.6})
    assert (one.others, two.others) == pytest.approx((0.1, 0.4))
    assert (one.is_read, two.is_read) == (True, False)
    ((both,),) = parts_of(_columns([_workload("a"), *free], 2), [0, 1_000_000], [first, last])
    assert both.busy == pytest.approx({"job:a": 4.0, "job:b": 4.5})
    assert (both.drawn_w, both.is_read) == (80.0, False)


def test_a_meter_that_stands_still_teaches_nothing() -> None:
    """A minute for which a counter hangs, CPUs at work, leaves what was learnt as it was; so does its end."""
    workloads = [_workload("a"), _workload("b")]
    intensities, rows = _begun(workloads), [[0] * 7]

    def told(energy_uj: int) -> list[int]:
        grown = (50_000_000, energy_uj, 0, 0, 0, 30_000_000, 15_000_000)
        first = [*rows[-1][:3], 20_000, *rows[-1][4:]]
        rows.append([value + by for value, by in zip(first, grown, strict=True)])
        return intensities.learn([0, 10_000_000], [first, rows[-1]])

    before = [told(600_000_000) for _ in range(20)][-1]
    hung = [told(0) for _ in range(6)][-1]
    assert hung[0] == pytest.approx(before[0], rel=0.02)
    assert hung[1:3] == pytest.approx(before[1:3], rel=0.02)


def test_packages_are_known_by_whatever_numbers_firmware_gives_them() -> None:
    """POWER9's second package is the eighth: it is learnt of as packages 0 and 1 are."""
    rows = [
        [0] * 11,
        [9_000_000, 60_000_000, 0, 0, 5_000_000, 20_000_000, 0, 0, 4_000_000, 4_000_000, 3_000_000],
    ]
    shown = []
    for step in (1, 8):
        on = (0, step), (step,)
        workloads = [Workload(name, JOB, "test", packages=own) for name, own in zip("ab", on, strict=True)]
        intensities = Intensities(8)
        intensities.begin(*_node(2, step), workloads, _blocks(workloads))
        assert intensities._columns is not None
        shown.append(parts_of(intensities._columns, [0, 1_000_000], rows))
    assert shown[0] == shown[1]
    assert shown[0][0][1].busy == pytest.approx({"job:a": 2 / 3, "job:b": 3.0}, rel=0.01)


def test_figures_are_whole_and_in_range() -> None:
    """A Report's figures are one a series: mW above 0, and errors of at most the whole; before that 0."""
    workloads = [_workload("a"), _workload("b")]
    intensities = _begun(workloads)
    idle = [[0] * 7, [10_000, 20_000_000, 0, 20_000, 0, 5_000, 5_000]]
    assert intensities.learn([0, 1_000_000], idle) == [0] * 5
    last = idle[-1]
    for turn in range(1, 20):
        grown = (5_000_000, 60_000_000 + turn % 3 * 4_000_000, 0, 0, 0, 3_000_000, 1_900_000 + turn % 3)
        after = [value + by for value, by in zip(last, grown, strict=True)]
        told = intensities.learn([turn * 10**6, (turn + 1) * 10**6], [last, after])
        last = after
        assert len(told) == len(intensities.series)
        assert min(told[:3]) > 0
        assert all(0 <= ppm <= 1_000_000 for ppm in told[3:])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([0, 1, 1000, 10**6, 10**9, 10**12, 10**15]), min_size=8, max_size=8),
        min_size=2,
        max_size=12,
    )
)
@example([[3 * 10**6, 10**15, 0, 0, 3 * 10**6, *[10**6] * 3]] * 5)
def test_of_whatever_was_read_collectors_take_what_is_told(steps: list[list[int]]) -> None:
    """Of readings that no machine has nothing is told that a Report would be refused for."""
    intensities = _begun([_workload("a"), _workload("b"), _workload("s", SYSTEM)])
    row = [0] * 8
    for number, step in enumerate(steps):
        after = [value + by for value, by in zip(row, step, strict=True)]
        # A floor is a level.
        after[3] = step[3] % 10**9
        told = intensities.learn([number * 1_000_000, (number + 1) * 1_000_000], [row, after])
        row = after
        others, *powers = told[:3]
        assert all(0 <= mw <= 1_000_000 for mw in (others, *powers))
        assert all(0 <= ppm <= 1_000_000 for ppm in told[3:])


def test_cores_without_second_threads_are_full_when_all_are_busy() -> None:
    """Where each core has one thread the second half of them draws as the first: shares come out right."""
    workloads = [_workload("a"), _workload("b")]
    rng = random.Random(2)
    off = []
    for second_threads in (True, False):
        intensities = Intensities(64, second_threads=second_threads)
        intensities.begin(*_node(1), workloads, _blocks(workloads))
        last, errors = [0, 0, 0, 20_000, 0, 0, 0], []
        for turn in range(200):
            use = (20 + 10 * (turn // 5 % 2), 30 - 12 * (turn // 7 % 2))
            # Of intensities 1.4 and 0.6, one to another; power goes with the 0.9th power of use.
            mean = (1.4 * use[0] + 0.6 * use[1]) / sum(use)
            drawn_w = (20 + mean * 4 * 64 * (sum(use) / 64) ** 0.9) * rng.gauss(1, 0.005)
            cpu = [10_000_000 * each for each in use]
            grown = (sum(cpu), round(drawn_w * 1e7), 0, 0, sum(cpu), *cpu)
            after = [value + by for value, by in zip(last, grown, strict=True)]
            told = intensities.learn([0, 10_000_000], [last, after])
            last = after
            # What each causes by the rule of Aumann and Shapley, and its part of it.
            caused = [(own - 0.1 * mean) * busy for own, busy in zip((1.4, 0.6), use, strict=True)]
            charged = [mw * busy for mw, busy in zip(told[2:0:-1], use, strict=True)]
            errors.append(abs(charged[1] / sum(charged) / (caused[1] / sum(caused)) - 1))
        off.append(sum(errors[10:]) / len(errors[10:]))
    assert off[1] < 0.8 * off[0]
