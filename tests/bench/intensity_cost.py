"""What learning jobs' powers costs an agent, and booking by them a collector: make bench PARTS=intensity."""

from __future__ import annotations

import random
import time

from joulebook.agent.intensities.intensities import Intensities
from joulebook.agent.source import Domain, Series
from joulebook.agent.workloads.workload import JOB, Workload
from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.stack import Readings
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.bench.rows import Row, row
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode
from tests.simulated.powers import tell_powers

_TICKS, _REPORTS, _SETTLING = 10, 60, 20
_NODES, _ROUNDS = 200, 9
_COUNTER = report_pb2.SOURCE_KIND_COUNTER


def _learning(jobs: int) -> Row:
    """Return the CPU time of a Report of ten ticks of two packages that so many jobs share."""
    names = ("cpu.0", "cpu.1")
    series = [Series(m.METRIC_NODE_CPU_BUSY)]
    for name in names:
        of = (m.METRIC_DOMAIN_ENERGY, m.METRIC_DOMAIN_UNREAD, m.METRIC_DOMAIN_IDLE_POWER)
        series += [Series(metric, domain=name) for metric in of]
        series.append(Series(m.METRIC_DEVICE_CPUS_BUSY, device=name))
    workloads = [Workload(f"slurm.{i}", JOB, "slurm", packages=(i % 2,)) for i in range(jobs)]
    intensities = Intensities(128)
    intensities.begin(
        series,
        [Domain(name, "rapl", _COUNTER, 61, 1000, 30_000) for name in names],
        workloads,
        [(Series(m.METRIC_WORKLOAD_CPU, workload=w.id),) for w in workloads],
    )
    rng, took_us = random.Random(1), []
    last = [0] * (len(series) + jobs)
    for number in range(_REPORTS):
        rows = [last]
        for _ in range(_TICKS):
            use = [round(1e6 * (3 + rng.random())) for _ in range(jobs)]
            mine = [sum(use[i::2]) for i in range(2)]
            grown = [sum(use) + 200_000]
            for busy in mine:
                grown += [round(60e6 + 4 * busy * rng.gauss(1, 0.02)), 0, 0, busy + 100_000]
            last = [value + by for value, by in zip(last, [*grown, *use], strict=True)]
            for place in range(3, len(series), 4):
                last[place] = 60_000
            rows.append(last)
        times_us = [1_000_000 * (number * _TICKS + tick) for tick in range(_TICKS + 1)]
        began_ns = time.thread_time_ns()
        intensities.learn(times_us, rows)
        took_us.append((time.thread_time_ns() - began_ns) / 1000)
    return row(
        f"agent CPU a Report of {_TICKS} ticks, learning what CPUs of {jobs} jobs draw",
        "µs",
        min(took_us[_SETTLING:]),
        peer="a tick of it",
        peer_value=min(took_us[_SETTLING:]) / _TICKS,
    )


def _readings(*, told: bool) -> list[Readings]:
    """Return Reports of ten ticks of as many nodes, each with ten jobs."""
    readings = []
    for number in range(_NODES):
        one = SimulatedNode(name=f"n{number}", cpus=64, domains=[("cpu.0", _COUNTER), ("memory.0", _COUNTER)])
        loads = [Load(f"slurm.{number}.{i}", cpu_us=900_000 + i, memory_bytes=i << 30) for i in range(10)]
        one.begin(loads)
        for _ in range(_TICKS):
            one.tick()
        report = one.report()
        if told:
            powers = {load.id: (3000 + 100 * i, 50_000) for i, load in enumerate(loads)}
            tell_powers(one.layouts, report, 1000, powers)
        readings += [each.readings for each in decoded(one, [report])]
    return readings


def _booking() -> Row:
    both = [_readings(told=False), _readings(told=True)]
    took_ns: list[list[int]] = [[], []]
    for turn in range(2 * _ROUNDS):
        at = turn % 2
        began_ns = time.thread_time_ns()
        book(both[at])
        took_ns[at].append(time.thread_time_ns() - began_ns)
    plain, told = (min(took) / 1000 / _NODES for took in took_ns)
    return row(
        "CPU of booking a Report of ten jobs by what their CPUs draw",
        "µs",
        told,
        peer="by CPU time",
        peer_value=plain,
    )


def measure() -> list[Row]:
    """Return what learning costs with few and many jobs, and a Report's booking with and without it."""
    return [*(_learning(jobs) for jobs in (2, 4, 10, 16, 32)), _booking()]
