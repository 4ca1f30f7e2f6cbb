"""What agents would see and send: ticks, and the Reports of them, through the collector's own decoding."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from joulebook.agent.floor import IdleFloor
from joulebook.collector.ingest.decode import decode_layout, decode_report
from joulebook.collector.ingest.values import check
from joulebook.collector.ledger.stack import Readings
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from joulebook.v1.naming import layout_hash
from tests.accuracy.mix import STEPS_PER_S, Mix
from tests.accuracy.physics import Run
from tests.accuracy.scenario import Scenario

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_STEP_US = 1_000_000 // STEPS_PER_S
_START_US = 50_000_000
_WALL_US = 1_790_000_000_000_000
_TICKS_A_REPORT = 10
# RAPL's accuracy as it is booked; a memory's; a BMC's.
_ACCURACY_PPM = {"cpu": 30_000, "memory": 50_000, "node": 50_000}
SYSTEM = "unit.daemon.service"


@dataclass(frozen=True, slots=True)
class Ticks:
    """Counters at the end of each tick, (ticks + 1,) or (jobs, ticks + 1); µJ, µs, bytes.

    steps are the steps that ticks end at. seen are the ticks [first, last) that a job's workload is known in.
    """

    steps: Ints
    energy_uj: dict[str, Ints]
    floor_mw: dict[str, Ints]
    busy_us: Ints
    package_busy_us: Ints
    cpu_us: Ints
    memory_bytes: Ints
    memory_used_bytes: Ints
    seen: list[tuple[int, int]]


def job_id(number: int) -> str:
    """Name a job."""
    return f"slurm.{number + 1}"


def watch(scenario: Scenario, mix: Mix, run: Run, seed: int) -> Ticks:
    """Tick over a run, at the edges of jobs too where the scenario says so."""
    total = len(mix.busy_cpus)
    steps = np.arange(0, total + 1, round(scenario.watch.tick_s * STEPS_PER_S))
    late = round(scenario.watch.late_s * STEPS_PER_S)
    first_at, last_at = np.minimum(mix.first + late, total), np.minimum(mix.last + late, total)
    if scenario.watch.edges:
        steps = np.union1d(steps, np.concatenate([first_at, last_at]))
    powers = {f"cpu.{i}": power for i, power in enumerate(run.package_w)} | {"memory.0": run.memory_w}
    if run.node_w is not None:
        powers["node"] = run.node_w
    # A meter's accuracy is where 95 % of its kind lie.
    gains = 1 + scenario.machine.miscalibration * 0.5e-6 * np.random.default_rng([seed, 3]).standard_normal(
        len(powers)
    ) * [_ACCURACY_PPM[name.partition(".")[0]] for name in powers]
    energy = {
        name: _counted(gain * power * _STEP_US, steps)
        for (name, power), gain in zip(powers.items(), gains.tolist(), strict=True)
    }
    cpu = _counted(mix.busy_cpus.T * _STEP_US, steps)
    at = np.maximum(steps - 1, 0)
    memory = mix.memory_bytes.T[:, at].astype(np.int64)
    busy_us = cpu.sum(axis=0)
    package_busy = [_busy(mix, cpu, package, len(run.package_w)) for package in range(len(run.package_w))]
    memory_used = memory.sum(axis=0)
    if scenario.watch.edges:
        first = np.searchsorted(steps, first_at)
    else:
        first = np.searchsorted(steps, mix.first, "right") - 1
    # What a job used after its last reading is known from what contained it, so its last interval is whole.
    last = np.searchsorted(steps, last_at)
    for job, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        # A cgroup counts from its making, so its first interval is whole too.
        cpu[job, begin] = 0
        if steps[end] > mix.last[job]:
            # Its memory is as it was read last; one that no tick saw has none.
            memory[job, end] = memory[job, end - 1] if end - 1 > begin else 0
    return Ticks(
        steps=steps,
        energy_uj=energy,
        floor_mw={name: _floor(steps * _STEP_US, counter) for name, counter in energy.items()},
        busy_us=busy_us,
        package_busy_us=np.stack(package_busy),
        cpu_us=cpu,
        memory_bytes=memory,
        memory_used_bytes=memory_used,
        seen=list(zip(first.tolist(), last.tolist(), strict=True)),
    )


def _busy(mix: Mix, cpu_us: Ints, package: int, packages: int) -> Ints:
    """Return the CPU time of a package: of the jobs on it, and its part of the system's."""
    busy: Ints = cpu_us[:-1][mix.package == package].sum(axis=0) + cpu_us[-1] // packages
    return busy


def _counted(rate: Floats, steps: Ints) -> Ints:
    """Add up amounts a step to a counter at the given steps, in whole units."""
    total = np.concatenate([np.zeros((*rate.shape[:-1], 1)), np.cumsum(rate, axis=-1)], axis=-1)
    counted: Ints = np.floor(total[..., steps]).astype(np.int64)
    return counted


def _floor(now_us: Ints, energy_uj: Ints) -> Ints:
    """Learn the idle floor as the agent does."""
    floor = IdleFloor()
    pairs = zip((now_us + _START_US).tolist(), energy_uj.tolist(), strict=True)
    return np.array([floor.update(now, energy) for now, energy in pairs], dtype=np.int64)


def readings(scenario: Scenario, mix: Mix, ticks: Ticks, seed: int) -> list[Readings]:
    """Cut Reports where jobs come and go and every ten ticks, lose some, and decode the others."""
    rng = np.random.default_rng([seed, 2])
    changes = sorted({0, len(ticks.steps) - 1, *(tick for span in ticks.seen for tick in span)})
    found = []
    for begin, end in pairwise(changes):
        present = [job for job, (first, last) in enumerate(ticks.seen) if first <= begin and end <= last]
        names, serialized = _layout(scenario, mix, present, list(ticks.energy_uj))
        layout = decode_layout(serialized)
        rows = _rows(ticks, present, names)
        for start in range(begin, end, _TICKS_A_REPORT):
            stop = min(start + _TICKS_A_REPORT, end)
            if rng.random() < scenario.watch.lost_reports:
                continue
            values = rows[:, start : stop + 1].copy()
            values[:, 1:] = np.diff(values, axis=1)
            message = report_pb2.Report(
                node="n1",
                boot=bytes(16),
                sequence=_START_US + int(ticks.steps[start]) * _STEP_US,
                layout_hash=layout_hash(serialized),
                realtime_offset_us=_WALL_US,
                interval_us=(np.diff(ticks.steps[start : stop + 1]) * _STEP_US).tolist(),
                values=values.ravel().tolist(),
            )
            decoded = decode_report(message, layout, _WALL_US + 10**13, 0)
            check(decoded.readings)
            found.append(decoded.readings)
    return found


def _layout(scenario: Scenario, mix: Mix, present: list[int], domains: list[str]) -> tuple[list[str], bytes]:
    """Return the domains in their order, and the serialised Layout while these jobs are there."""
    machine = scenario.machine
    threads = machine.packages * machine.cores_per_package * machine.threads_per_core
    message = report_pb2.Layout(
        node="n1",
        session_us=_START_US - 1,
        agent_version="simulated",
        host=report_pb2.Host(
            logical_cpus=threads, packages=machine.packages, memory_bytes=round(machine.memory_gib * 2**30)
        ),
    )
    for name in domains:
        kind = name.partition(".")[0]
        message.domains.add(
            name=name,
            source="simulated",
            kind=report_pb2.SOURCE_KIND_COUNTER,
            resolution_uj=61,
            period_us=1000,
            accuracy_ppm=_ACCURACY_PPM[kind],
            range_uj=1 << 50,
            limit_mw=20_000_000,
        )
    message.workloads.add(id=SYSTEM, kind=report_pb2.WORKLOAD_KIND_SYSTEM, source="systemd")
    for job in present:
        message.workloads.add(
            id=job_id(job),
            kind=report_pb2.WORKLOAD_KIND_JOB,
            source="slurm",
            reserved_millicpus=int(mix.held[job]) * 1000,
            reserved_memory_bytes=round(float(mix.memory_bytes[:, job].max())),
            cpu_domain=[domains.index(f"cpu.{mix.package[job]}") + 1] if scenario.watch.cpusets else [],
        )
    keys = [(m.METRIC_NODE_CPU_BUSY, 0, 0), (m.METRIC_NODE_MEMORY_USED, 0, 0)]
    for place in range(1, len(domains) + 1):
        of = (m.METRIC_DOMAIN_ENERGY, m.METRIC_DOMAIN_UNREAD, m.METRIC_DOMAIN_IDLE_POWER)
        keys += [(metric, place, 0) for metric in of]
    for place in range(1, len(message.workloads) + 1):
        keys += [(m.METRIC_WORKLOAD_CPU, 0, place), (m.METRIC_WORKLOAD_MEMORY, 0, place)]
    for package in range(machine.packages):
        message.devices.add(name=f"cpu.{package}", kind=report_pb2.DEVICE_KIND_PACKAGE)
    rows = [(metric, domain, 0, workload) for metric, domain, workload in keys]
    rows += [(m.METRIC_DEVICE_CPUS_BUSY, 0, place, 0) for place in range(1, machine.packages + 1)]
    for metric, domain, device, workload in rows:
        message.series_metric.append(metric)
        message.series_domain.append(domain)
        message.series_device.append(device)
        message.series_workload.append(workload)
    return domains, message.SerializeToString(deterministic=True)


def _rows(ticks: Ticks, present: list[int], domains: list[str]) -> Ints:
    """Return the readings of every series of a layout, (series, ticks + 1)."""
    rows = [ticks.busy_us, ticks.memory_used_bytes]
    for name in domains:
        rows += [ticks.energy_uj[name], np.zeros_like(ticks.busy_us), ticks.floor_mw[name]]
    for column in (-1, *present):
        rows += [ticks.cpu_us[column], ticks.memory_bytes[column]]
    rows += list(ticks.package_busy_us)
    return np.stack(rows)
