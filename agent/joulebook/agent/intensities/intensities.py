"""What a busy CPU of each job draws: series that every Report ends with where several jobs share a node.

The agent alone sees its node's time in order. It tells what it learnt with the Report that it learnt it from,
so that live books stay a function of the Report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

from joulebook.agent.intensities.learner import Learner, Learnt
from joulebook.agent.intensities.seen import Columns, Group, Package, parts_of
from joulebook.agent.source import Domain, Metric, Series
from joulebook.agent.workloads.workload import JOB, Workload
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2

# With more workloads of jobs live books go by CPU time.
_MOST_WORKLOADS = 64
_FEWEST_JOBS = 2
_PACKAGE = re.compile(r"cpu\.(\d+)")
_ALL = "cpu"
_OF_PACKAGE = (metrics.METRIC_DOMAIN_ENERGY, metrics.METRIC_DOMAIN_UNREAD, metrics.METRIC_DOMAIN_IDLE_POWER)
_WHOLE_PPM = 1_000_000
# No CPU draws as much. Of readings that are absurd more may be learnt, which collectors refuse.
_MOST_MW = 1_000_000
# What a share's error is rounded to: of many ticks it stays the same.
_STEP_PPM = 5_000


class Intensities:
    """begin() with every Layout, learn() from every Report's readings."""

    def __init__(self, logical_cpus: int, *, second_threads: bool = True) -> None:
        """Take the node's logical_cpus, 0: nothing is learnt; second_threads: some share a core."""
        self._logical_cpus = logical_cpus
        # Beyond so many busy threads cores have a second one, which adds less; without any, never.
        self._cores = logical_cpus / 2 if second_threads else logical_cpus
        self._learner = Learner()
        self._columns: Columns | None = None
        self._jobs: list[str] = []
        self.series: tuple[Series, ...] = ()

    def begin(
        self,
        series: Sequence[Series],
        domains: Sequence[Domain],
        workloads: Sequence[Workload],
        blocks: Sequence[tuple[Series, ...]],
    ) -> None:
        """Take up a Layout: the node's series, and those of each workload in a block after them."""
        self._columns, self._jobs, self.series = None, [], ()
        jobs = [(at, each) for at, each in enumerate(workloads) if each.kind == JOB]
        if not self._logical_cpus or len(jobs) > _MOST_WORKLOADS:
            return
        first = {f"job:{each.job or each.id}": each.id for _, each in reversed(jobs)}
        if len(first) < _FEWEST_JOBS:
            return
        packages, busy = _packages(series, domains, workloads)
        if not packages or busy is None:
            return
        begins = list(accumulate(map(len, blocks), initial=len(series)))
        groups: dict[Group, list[tuple[int, int]]] = {}
        places = {each.id: at for at, each in jobs}
        # Firmware numbers packages as it likes: POWER9's are 0 and 8.
        place_of = {package.name: at for at, package in enumerate(packages)}
        for at, each in enumerate(workloads):
            own, around = each.kind == JOB, places.get(each.parent)
            # Most workloads of a node are services.
            if not (own or around is not None):
                continue
            column = next(
                (i for i, one in enumerate(blocks[at]) if one.metric == metrics.METRIC_WORKLOAD_CPU), None
            )
            if column is None:
                continue
            if own:
                groups.setdefault(_group(each, place_of), []).append((begins[at] + column, 1))
            if around is not None:
                groups.setdefault(_group(workloads[around], place_of), []).append((begins[at] + column, -1))
        self._columns = Columns(tuple(packages), busy, {key: tuple(own) for key, own in groups.items()})
        self._jobs = list(first)
        self.series = (
            Series(metrics.METRIC_NODE_OTHERS_CPU_POWER),
            *(Series(metrics.METRIC_WORKLOAD_CPU_POWER, workload=one) for one in first.values()),
            *(Series(metrics.METRIC_WORKLOAD_CPU_POWER_ERROR, workload=one) for one in first.values()),
        )

    def learn(self, times_us: Sequence[int], rows: Sequence[Sequence[int]]) -> list[int]:
        """Learn from the readings at a Report's times; return what to tell, one value a series."""
        if self._columns is None:
            return []
        packages = self._columns.packages
        half = self._cores / len(packages)
        parts = parts_of(self._columns, times_us, rows)
        learnt = self._learner.learn([each.name for each in packages], half, parts)
        return [0] * len(self.series) if learnt is None else self._values(learnt)

    def _values(self, learnt: Learnt) -> list[int]:
        return [
            _milliwatts(learnt.others_w),
            *(_milliwatts(learnt.job_w.get(job, 0.0)) for job in self._jobs),
            *(
                min(round(learnt.error.get(job, 0.0) * _WHOLE_PPM / _STEP_PPM) * _STEP_PPM, _WHOLE_PPM)
                for job in self._jobs
            ),
        ]


def _milliwatts(power_w: float) -> int:
    """Return whole mW, of which 0 says that nothing is known."""
    return min(max(round(power_w * 1000), 1), _MOST_MW)


def _group(workload: Workload, place_of: Mapping[str, int]) -> Group:
    own = (place_of.get(f"cpu.{number}") for number in workload.packages)
    return f"job:{workload.job or workload.id}", tuple(at for at in own if at is not None)


def _packages(
    series: Sequence[Series], domains: Sequence[Domain], workloads: Sequence[Workload]
) -> tuple[list[Package], int | None]:
    """Return packages as the ledger has them, all as one where no cpuset tells them apart; and busy CPUs.

    None where any is modelled: what a model made of CPU time tells nothing of it.
    """
    found = {int(match[1]): d for d in domains if (match := _PACKAGE.fullmatch(d.name))}
    numbers, count = sorted(found), len(found)
    if not found or any(d.kind == report_pb2.SOURCE_KIND_MODEL for d in found.values()):
        return [], None
    column = {(each.metric, each.domain or each.device): at for at, each in enumerate(series)}
    if any((metric, f"cpu.{number}") not in column for number in numbers for metric in _OF_PACKAGE):
        return [], None
    busy = column.get((metrics.METRIC_NODE_CPU_BUSY, ""))
    on = (sum(number in found for number in each.packages) for each in workloads if each.packages)
    if count > 1 and not any(0 < some < count for some in on):
        return [_package(column, _ALL, numbers, busy)], busy
    told = {i: column.get((metrics.METRIC_DEVICE_CPUS_BUSY, f"cpu.{i}")) for i in numbers}
    return [_package(column, f"cpu.{i}", [i], busy_of) for i, busy_of in told.items()], busy


def _package(
    column: Mapping[tuple[Metric, str], int], name: str, numbers: Sequence[int], busy: int | None
) -> Package:
    energy, unread, floor = (tuple(column[metric, f"cpu.{i}"] for i in numbers) for metric in _OF_PACKAGE)
    return Package(name, energy, unread, floor, busy)
