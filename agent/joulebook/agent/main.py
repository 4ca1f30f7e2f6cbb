"""The agent: config → sources → sampler → spool → uplink."""

import gc
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from joulebook.agent.characterise.load import SquareLoad
from joulebook.agent.characterise.record import Recorder
from joulebook.agent.clock import boot_us
from joulebook.agent.config import AgentConfig
from joulebook.agent.doctor import examine
from joulebook.agent.host import read_boot_id, read_host
from joulebook.agent.intensities.intensities import Intensities
from joulebook.agent.loop import run
from joulebook.agent.meters.gauges import GaugesConfig
from joulebook.agent.outbox import Entry
from joulebook.agent.reading import reading
from joulebook.agent.sampler import Emit, Sampler
from joulebook.agent.source import Roots
from joulebook.agent.sources import Sources, probe_sources
from joulebook.agent.spool import standing
from joulebook.agent.spool.directory import SpoolTakenError
from joulebook.agent.spool.keeper import Bounds
from joulebook.agent.spool.spool import Spool
from joulebook.agent.usage.topology import has_second_threads
from joulebook.agent.wall_clock import WallClock
from joulebook.agent.workloads.runs import RunSocket
from joulebook.agent.workloads.settings import WorkloadsConfig
from joulebook.agent.workloads.workloads import Workloads
from joulebook.service.notify import Manager
from joulebook.v1 import report_pb2

_log = logging.getLogger(__name__)

# How long a stop waits for the last Reports to be acknowledged.
_FLUSH_S = 5.0
# How long slow sources are waited for at first: in the agent they join later, in one look they do not.
_START_S, _LOOK_S = 0.3, 5.0


def main(config: AgentConfig) -> int:
    """Measure and stream until SIGTERM or SIGINT; return the exit status, 2 when it could not begin."""
    # Imported here: a machine that only asks `--once` or `doctor` does without gRPC.
    from joulebook.agent.uplink import Uplink  # noqa: PLC0415

    manager = Manager()
    try:
        spool = _spool(config)
    except SpoolTakenError as error:
        _log.error("%s", error)
        return 2
    wall_clock = WallClock(config.spool_path())

    def emit(report: report_pb2.Report, layout: bytes) -> None:
        wall_clock.stamp(report)
        spool.put(Entry(report, layout))

    with closing(spool), closing(wall_clock), _sampler(config, emit) as (sampler, workloads, _):
        uplink = Uplink(
            config.collectors(), spool, tls_ca=config.tls_ca, replay_per_s=config.spool_replay_reports_per_s
        )
        try:
            run_socket = _run_socket(config.socket_path())
        except FileExistsError as error:
            _log.error("%s", error)
            return 2
        sampler.start()
        spool.start()
        uplink.start()
        # What is here now stays: the collector of garbage need not walk through it at every turn.
        gc.collect()
        gc.freeze()
        what = f"measuring {_node(config)} every {config.tick_s:g} s, streaming to {config.collector}"
        _log.info(what)

        def tick() -> None:
            sampler.tick()
            for finding in spool.findings():
                sampler.note(finding)
            manager.alive(lambda: f"{what}; {len(spool)} reports not acknowledged")

        manager.ready(what, sign_every_s=config.tick_s)
        try:
            run(config.tick_s, tick, sampler.cut, workloads, run_socket)
        finally:
            if run_socket is not None:
                run_socket.close()
        manager.stopping()
        sampler.tick()
        sampler.cut()
        uplink.stop(_FLUSH_S)
        _log.info("stopped; %d reports not acknowledged", len(spool))
    manager.close()
    return 0


def once(config: AgentConfig) -> dict[str, Any]:
    """Return one interval's readings, with no network."""
    reports: list[tuple[report_pb2.Report, bytes]] = []
    with _sampler(config, lambda report, layout: reports.append((report, layout)), _LOOK_S) as (
        sampler,
        _,
        sources,
    ):
        sampler.start()
        time.sleep(config.tick_s)
        sampler.tick()
        sampler.cut()
        report, layout = reports[-1]
        return reading(report, report_pb2.Layout.FromString(layout), sampler, sources)


def doctor(config: AgentConfig) -> dict[str, Any]:
    """Return what this machine can see of itself and what not, and what would mend it."""
    roots = _roots(config)
    with _probed(config, 0) as (sources, workloads):
        workloads.refresh(boot_us())
        others = (*workloads.probe(), standing.look(config.spool_path()))
        return examine(sources, others, read_host(roots), _node(config))


def characterise(config: AgentConfig, seconds: float, command: str = "") -> list[dict[str, Any]]:
    """Return what the power sensors of this machine do under a load that it makes; empty: there are none.

    command: what to load the machine with, instead of processes that spin. LoadEndedError: it ended.
    """
    # As the sensor shows it, not as it is made of it between ticks.
    as_it_is = msgspec.structs.replace(config, gauges=GaugesConfig(reads_per_s=0))
    with _probed(as_it_is, _LOOK_S) as (sources, _):
        meters = [(source, probe.domains) for source, probe in sources.each if probe.domains]
        recorder = Recorder(meters, boot_us)
        if not recorder.has_sensors:
            return []
        with SquareLoad(os.cpu_count() or 1, boot_us, command) as load:
            recorder.run(load, seconds)
        return recorder.found(load)


def _node(config: AgentConfig) -> str:
    return config.node or socket.gethostname()


def _spool(config: AgentConfig) -> Spool:
    """Open the spool. Raises SpoolTakenError where another agent has it."""
    return Spool(
        config.spool_path(),
        boot=_boot(config),
        bounds=Bounds(config.spool_max_bytes, config.spool_max_age_s * 1_000_000),
        fsync_us=int(config.spool_fsync_s * 1e6),
        memory_reports=config.outbox_reports,
    )


def _boot(config: AgentConfig) -> bytes:
    return read_boot_id(Roots(procfs=Path(config.procfs))) or bytes(16)


def _roots(config: AgentConfig) -> Roots:
    return Roots(
        Path(config.procfs),
        Path(config.sysfs),
        Path(config.cgroupfs),
        Path(config.devfs),
        Path(config.workloads.pod_logs),
    )


@contextmanager
def _probed(config: AgentConfig, patience_s: float) -> Iterator[tuple[Sources, Workloads]]:
    roots = _roots(config)
    sources = probe_sources(roots, config, patience_s=patience_s)
    workloads = Workloads(
        roots,
        WorkloadsConfig(
            tuple(config.job_cgroups),
            tuple(config.workloads.launchers),
            _node(config),
            config.workloads.podresources,
        ),
        own_pids=config.own_pids,
        gpus=sources.gpus,
        disks=sources.disks,
    )
    try:
        yield sources, workloads
    finally:
        workloads.close()
        sources.close()


@contextmanager
def _sampler(
    config: AgentConfig, emit: Emit, patience_s: float = _START_S
) -> Iterator[tuple[Sampler, Workloads, Sources]]:
    host = read_host(_roots(config))
    with _probed(config, patience_s) as (sources, workloads):
        yield (
            Sampler(
                _node(config),
                _boot(config),
                host,
                sources.probed,
                sources.meters,
                workloads,
                emit,
                ticks_per_report=max(1, round(config.report_s / config.tick_s)),
                idle_power_mw=config.idle_power_mw,
                intensities=Intensities(
                    host.logical_cpus if config.learn_cpu_power else 0,
                    second_threads=has_second_threads(_roots(config)),
                ),
            ),
            workloads,
            sources,
        )


def _run_socket(path: Path) -> RunSocket | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        return RunSocket(path)
    except FileExistsError:
        # Two agents on a node would measure everything twice; the collector would refuse the second.
        raise
    except OSError as error:
        _log.warning("%s: %s; `joulebook run` cannot reach this agent", path, error)
        return None
