"""Reports made smaller with not a microjoule changed: for when the spool's bound is reached.

A thinned Report has the name and the span of the whole one, so whichever of the two a collector has, the
other is a repetition. Its ticks are collapsed, and only the series that the books are made from stay: energy,
unread time and idle power of domains; CPU, memory, IO and GPU use of workloads; what the node used in all.
Counters keep their sums. A gauge becomes its mean over the time, so that an idle floor keeps its energy.

A container that reads less than its parts is raised to their sum, tick by tick. Ticks are therefore collapsed
only with neighbours in which the same containers would be raised: then the maximum of the sums is the sum of
the maxima, and every domain's energy is the same to the microjoule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import catalogue
from joulebook.v1.containment import DETAILS, depths_of, parents_of
from joulebook.v1.naming import layout_hash

# What the ledger reads. A metric that it comes to read belongs here: tests/agent/spool/test_thinning.py holds
# a thinned Report's books against the whole one's.
_BOOKED = frozenset(
    (
        metrics.METRIC_DOMAIN_ENERGY,
        metrics.METRIC_DOMAIN_UNREAD,
        metrics.METRIC_DOMAIN_IDLE_POWER,
        metrics.METRIC_DOMAIN_SAMPLING,
        metrics.METRIC_NODE_CPU_BUSY,
        metrics.METRIC_NODE_MEMORY_USED,
        metrics.METRIC_NODE_OTHERS_CPU_POWER,
        metrics.METRIC_DEVICE_READ,
        metrics.METRIC_DEVICE_WRITTEN,
        metrics.METRIC_WORKLOAD_CPU,
        metrics.METRIC_WORKLOAD_MEMORY,
        metrics.METRIC_WORKLOAD_IO,
        metrics.METRIC_WORKLOAD_CPU_POWER,
        metrics.METRIC_WORKLOAD_CPU_POWER_ERROR,
        metrics.METRIC_WORKLOAD_GPU_UTILISATION,
        metrics.METRIC_WORKLOAD_DISK_IO,
    )
)
# Joined Reports stay well below what a collector takes: a day, 3,600 intervals, and 4,294 s an interval.
_LONGEST_US = 3_600_000_000
_MOST_INTERVALS = 1000
# Reports whose wall clocks differ by more than this are not joined: the clock was set between them.
_CLOCK_STEP_US = 1_000_000


@dataclass(frozen=True, slots=True)
class _Plan:
    """What of a Layout's series stays, and how its domains lie in each other."""

    layout: bytes
    hash: int
    # How many series there were.
    series: int
    kept: tuple[int, ...]
    is_counter: tuple[bool, ...]
    # (row among the kept, parent's row or −1) of the domains that are booked, the innermost first.
    energy: tuple[tuple[int, int], ...]


@lru_cache(maxsize=16)
def _plan(serialized: bytes) -> _Plan:
    layout = report_pb2.Layout.FromString(serialized)
    kept = tuple(i for i, metric in enumerate(layout.series_metric) if metric in _BOOKED)
    thin = report_pb2.Layout()
    thin.CopyFrom(layout)
    for name in ("series_metric", "series_domain", "series_device", "series_workload"):
        column = getattr(layout, name)
        thin.ClearField(name)
        getattr(thin, name).extend(column[i] for i in kept)
    entries = catalogue()
    names = [domain.name for domain in layout.domains]
    row = {
        domain - 1: i
        for i, (metric, domain) in enumerate(zip(thin.series_metric, thin.series_domain, strict=True))
        if metric == metrics.METRIC_DOMAIN_ENERGY
    }
    parents = parents_of(names)
    depths = depths_of(parents)
    booked = [d for d in row if names[d].partition(".")[0] not in DETAILS]
    booked.sort(key=lambda d: -depths[d])
    data = thin.SerializeToString()
    return _Plan(
        data,
        layout_hash(data),
        len(layout.series_metric),
        kept,
        tuple(entries[metric].is_counter for metric in thin.series_metric),
        tuple((row[d], row.get(parents[d], -1)) for d in booked),
    )


def thin(report: report_pb2.Report, layout: bytes) -> tuple[report_pb2.Report, bytes]:
    """Return a Report of the same name, span and energies, smaller, and its Layout."""
    plan = _plan(layout)
    width = len(report.interval_us) + 1
    if sum(report.interval_us) > _LONGEST_US or len(report.values) != plan.series * width:
        return report, layout
    values = list(report.values)
    columns = [values[row * width : (row + 1) * width] for row in plan.kept]
    thinned = report_pb2.Report()
    thinned.CopyFrom(report)
    thinned.layout_hash = plan.hash
    _collapse(thinned, columns, list(report.interval_us), plan)
    return thinned, plan.layout


def join(first: report_pb2.Report, second: report_pb2.Report, layout: bytes) -> report_pb2.Report | None:
    """Return two thinned Reports of a Layout as one, None where they do not meet or it would be too long.

    Only for Reports that were never sent: the joint one has the first one's name and both spans.
    """
    plan = _plan(layout)
    lengths = [*first.interval_us, *second.interval_us]
    one, two = len(first.interval_us) + 1, len(second.interval_us) + 1
    if (
        (first.boot, first.layout_hash, first.node) != (second.boot, second.layout_hash, second.node)
        or first.sequence + sum(first.interval_us) != second.sequence
        or sum(lengths) > _LONGEST_US
        or len(lengths) > _MOST_INTERVALS
        or first.wall_clock != second.wall_clock
        or abs(first.realtime_offset_us - second.realtime_offset_us) > _CLOCK_STEP_US
    ):
        return None
    a, b = list(first.values), list(second.values)
    columns = []
    for row, is_counter in enumerate(plan.is_counter):
        left, right = a[row * one : (row + 1) * one], b[row * two : (row + 1) * two]
        step = right[0] - sum(left)
        if is_counter and step:
            return None
        # The second one's first mean is told from its own start, which is another level than the first's end.
        columns.append([*left, right[1] + step, *right[2:]])
    joint = report_pb2.Report()
    joint.CopyFrom(first)
    joint.ended.extend(second.ended)
    told = {status.name: status for status in [*first.sources, *second.sources]}
    joint.ClearField("sources")
    joint.sources.extend(told.values())
    _collapse(joint, columns, lengths, plan)
    return joint


def _collapse(
    report: report_pb2.Report, columns: list[list[int]], lengths: Sequence[int], plan: _Plan
) -> None:
    """Put columns of a start and differences into a Report, as few ticks as there can be."""
    runs = _runs(columns, len(lengths), plan)
    # A reading at the end of a tick stands for the tick.
    levels = {row: _levels(column) for row, column in enumerate(columns) if not plan.is_counter[row]}
    interval_us = [sum(lengths[i] for i in run) for run in runs]
    values: list[int] = []
    for row, column in enumerate(columns):
        values.append(column[0])
        if plan.is_counter[row]:
            values += [sum(column[run.start + 1 : run.stop + 1]) for run in runs]
            continue
        before = column[0]
        for run, length in zip(runs, interval_us, strict=True):
            mean = sum(levels[row][i] * lengths[i] for i in run) // length
            values.append(mean - before)
            before = mean
    report.ClearField("interval_us")
    report.interval_us.extend(interval_us)
    report.ClearField("values")
    report.values.extend(values)


def _levels(column: list[int]) -> list[int]:
    level, levels = column[0], []
    for change in column[1:]:
        level += change
        levels.append(level)
    return levels


def _runs(columns: list[list[int]], ticks: int, plan: _Plan) -> list[range]:
    """Return runs of ticks in which the same containers read less than their parts."""
    if all(parent < 0 for _, parent in plan.energy):
        return [range(ticks)]
    raised = [_raised(columns, tick + 1, plan) for tick in range(ticks)]
    runs = []
    for _, run in groupby(range(ticks), key=raised.__getitem__):
        members = list(run)
        runs.append(range(members[0], members[-1] + 1))
    return runs


def _raised(columns: list[list[int]], at: int, plan: _Plan) -> tuple[int, ...]:
    """Return the rows of the containers that read less than their parts in a tick."""
    inside: dict[int, int] = {}
    raised = []
    for row, parent in plan.energy:
        energy_uj, parts_uj = columns[row][at], inside.get(row, 0)
        if parts_uj > energy_uj:
            raised.append(row)
            energy_uj = parts_uj
        if parent >= 0:
            inside[parent] = inside.get(parent, 0) + energy_uj
    return tuple(raised)
