"""The Reports of ticks as agents would send them, through the collector's own decoding."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from joulebook.agent.intensities.intensities import Intensities
from joulebook.agent.source import Domain, Series
from joulebook.agent.workloads.workload import Workload
from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.collector.ingest.values import check
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from joulebook.v1.naming import layout_hash
from tests.accuracy.gpus import GpuRun
from tests.accuracy.mix import Mix
from tests.accuracy.physics import Run
from tests.accuracy.scenario import Scenario
from tests.accuracy.telemetry import ACCURACY_PPM, LIMIT_MW, START_US, STEP_US, Ticks, job_id

Ints = npt.NDArray[np.int64]

_WALL_US = 1_790_000_000_000_000
_TICKS_A_REPORT = 10
SYSTEM = "unit.daemon.service"


def reports(scenario: Scenario, mix: Mix, run: Run, ticks: Ticks, seed: int) -> list[Decoded]:
    """Cut Reports where jobs come and go and every ten ticks, lose some, and decode the others."""
    rng = np.random.default_rng([seed, 2])
    ends = (tick for span in (*ticks.seen, *ticks.away) for tick in span)
    changes = sorted({0, len(ticks.steps) - 1, *ends})
    found = []
    # Wall clock less boot clock.
    offset_us = _WALL_US
    lives = -1
    intensities = Intensities(0)
    for begin, end in pairwise(changes):
        if any(first <= begin and end <= last for first, last in ticks.away):
            continue
        if (life := sum(last <= begin for _, last in ticks.away)) != lives:
            # What an agent learnt is gone when it is started again.
            lives, intensities = life, Intensities(_threads(scenario))
        session_us = START_US - 1 + life
        present = [job for job, (first, last) in enumerate(ticks.seen) if first <= begin and end <= last]
        names, serialized = _layout(
            scenario, mix, run, present, list(ticks.energy_uj), session_us, intensities
        )
        layout = decode_layout(serialized)
        rows = _rows(ticks, run, present, names)
        for start in range(begin, end, _TICKS_A_REPORT):
            stop = min(start + _TICKS_A_REPORT, end)
            times_us = (START_US + ticks.steps[start : stop + 1] * STEP_US).tolist()
            learnt = intensities.learn(times_us, rows[:, start : stop + 1].T.tolist())
            if rng.random() < scenario.watch.lost_reports:
                continue
            if scenario.watch.clock_steps_s:
                offset_us += round(scenario.watch.clock_steps_s * 1e6 * rng.standard_normal())
            still = np.repeat(np.array(learnt, dtype=np.int64)[:, None], stop + 1 - start, axis=1)
            values = np.vstack([rows[:, start : stop + 1], still])
            values[:, 1:] = np.diff(values, axis=1)
            message = report_pb2.Report(
                node="n1",
                boot=bytes(16),
                sequence=START_US + int(ticks.steps[start]) * STEP_US,
                layout_hash=layout_hash(serialized),
                realtime_offset_us=offset_us,
                interval_us=(np.diff(ticks.steps[start : stop + 1]) * STEP_US).tolist(),
                values=values.ravel().tolist(),
            )
            decoded = decode_report(message, layout, _WALL_US + 10**13, 0)
            check(decoded.readings)
            found.append(decoded)
    return found


def _threads(scenario: Scenario) -> int:
    machine = scenario.machine
    return machine.packages * machine.cores_per_package * machine.threads_per_core


def _layout(
    scenario: Scenario,
    mix: Mix,
    run: Run,
    present: list[int],
    domains: list[str],
    session_us: int,
    intensities: Intensities,
) -> tuple[list[str], bytes]:
    """Return the domains in their order, and the serialised Layout while these jobs are there.

    intensities takes it up, and its series come last.
    """
    machine, threads = scenario.machine, _threads(scenario)
    message = report_pb2.Layout(
        node="n1",
        session_us=session_us,
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
            accuracy_ppm=ACCURACY_PPM[kind],
            range_uj=1 << 50,
            limit_mw=LIMIT_MW,
        )
    message.workloads.add(id=SYSTEM, kind=report_pb2.WORKLOAD_KIND_SYSTEM, source="systemd")
    for job in present:
        holds = [gpu for gpu in range(run.gpus.count) if run.gpus.held[gpu, job]]
        message.workloads.add(
            id=job_id(job),
            kind=report_pb2.WORKLOAD_KIND_JOB,
            source="slurm",
            reserved_millicpus=int(mix.held[job]) * 1000,
            reserved_memory_bytes=round(float(mix.memory_bytes[:, job].max())),
            cpu_domain=[domains.index(f"cpu.{mix.package[job]}") + 1] if scenario.watch.cpusets else [],
            gpu=[domains.index(f"gpu.{gpu}") + 1 for gpu in holds],
            gpu_share_ppm=[round(run.gpus.held[gpu, job] * 1e6) for gpu in holds],
        )
    series = [Series(m.METRIC_NODE_CPU_BUSY), Series(m.METRIC_NODE_MEMORY_USED)]
    of_domain = (m.METRIC_DOMAIN_ENERGY, m.METRIC_DOMAIN_UNREAD, m.METRIC_DOMAIN_IDLE_POWER)
    series += [Series(metric, domain=name) for name in domains for metric in of_domain]
    for package in range(machine.packages):
        message.devices.add(name=f"cpu.{package}", kind=report_pb2.DEVICE_KIND_PACKAGE)
        series.append(Series(m.METRIC_DEVICE_CPUS_BUSY, device=f"cpu.{package}"))
    of_workload = (m.METRIC_WORKLOAD_CPU, m.METRIC_WORKLOAD_MEMORY)
    blocks = [tuple(Series(metric, workload=w.id) for metric in of_workload) for w in message.workloads]
    intensities.begin(
        series,
        [
            Domain(d.name, d.source, d.kind, d.resolution_uj, d.period_us, d.accuracy_ppm)
            for d in message.domains
        ],
        [
            Workload(w.id, w.kind, w.source, packages=tuple(_package(domains[d - 1]) for d in w.cpu_domain))
            for w in message.workloads
        ],
        blocks,
    )
    series += [one for block in blocks for one in block]
    series += [
        Series(m.METRIC_WORKLOAD_GPU_UTILISATION, domain=f"gpu.{gpu}", workload=job_id(job))
        for job in present
        for gpu in _uses(run.gpus, job)
    ]
    workloads = ["", *(w.id for w in message.workloads)]
    devices = ["", *(d.name for d in message.devices)]
    for one in (*series, *intensities.series):
        message.series_metric.append(one.metric)
        message.series_domain.append(["", *domains].index(one.domain))
        message.series_device.append(devices.index(one.device))
        message.series_workload.append(workloads.index(one.workload))
    return domains, message.SerializeToString(deterministic=True)


def _package(domain: str) -> int:
    return int(domain.partition(".")[2])


def _uses(gpus: GpuRun, job: int) -> list[int]:
    """Return the GPUs that a job has processes on."""
    return [gpu for gpu in range(gpus.count) if gpus.held[gpu, job] and gpus.works[job]]


def _rows(ticks: Ticks, run: Run, present: list[int], domains: list[str]) -> Ints:
    """Return the readings of every series of a layout, (series, ticks + 1)."""
    rows = [ticks.busy_us, ticks.memory_used_bytes]
    for name in domains:
        rows += [ticks.energy_uj[name], ticks.unread_us[name], ticks.floor_mw[name]]
    rows += list(ticks.package_busy_us)
    for column in (-1, *present):
        rows += [ticks.cpu_us[column], ticks.memory_bytes[column]]
    rows += [ticks.gpu_ppm[gpu, job] for job in present for gpu in _uses(run.gpus, job)]
    return np.stack(rows)
