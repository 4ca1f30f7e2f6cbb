"""Books of hundreds of nodes up to this moment, for what must stay quick and readable at that size."""

from collections.abc import Iterator

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.store.protocol import Store
from joulebook.v1 import report_pb2
from joulebook.v1.naming import layout_hash
from tests.simulated.node import Load, SimulatedNode

_KINDS = 5
_JOBS_A_NODE = 6
_USERS = ("ada", "bob", "chen", "dora", "eve")
_NAMES = ("train", "sort", "assemble", "render", "fold")
_WORKING, _UNREADABLE = report_pb2.SOURCE_STATE_WORKING, report_pb2.SOURCE_STATE_UNREADABLE
_SUSPECT = report_pb2.SOURCE_STATE_SUSPECT


def fill(store: Store, *, nodes: int, reports: int, report_us: int, now_us: int) -> None:
    """Book as many reports of each node, one after the other, the last of which ended just now."""
    kinds = [_kind(number, now_us - reports * report_us) for number in range(_KINDS)]
    committer = Committer(store, IngestStats())
    for number in range(reports):
        committer.apply(list(_reports(kinds, nodes, report_us, first=number == 0)))


def _kind(number: int, wall_us: int) -> SimulatedNode:
    node = SimulatedNode(name="kind", cpus=64, wall_us=wall_us)
    service = Load("unit.sshd.service", report_pb2.WORKLOAD_KIND_SYSTEM, cpu_us=300_000)
    node.begin([*(_job(number, i) for i in range(_JOBS_A_NODE)), service])
    return node


def _job(kind: int, number: int) -> Load:
    job = (kind * 7 + number * number) % 17
    return Load(
        f"slurm.{4200 + job}",
        cpu_us=900_000 * (job % 9 + 1),
        memory_bytes=job << 30,
        name=f"{_NAMES[job % 5]}-{job}",
        user=_USERS[job % 5],
        reserved_millicpus=8000,
    )


def _reports(kinds: list[SimulatedNode], nodes: int, report_us: int, *, first: bool) -> Iterator[Decoded]:
    made = []
    for kind in kinds:
        kind.tick(report_us)
        made.append(kind.report())
    for number in range(nodes):
        kind = kinds[number % len(kinds)]
        name = f"node{number + 1:03d}"
        layout = report_pb2.Layout.FromString(kind.layouts[made[number % len(kinds)].layout_hash])
        layout.node = name
        serialized = layout.SerializeToString()
        report = report_pb2.Report()
        report.CopyFrom(made[number % len(kinds)])
        report.node, report.layout_hash = name, layout_hash(serialized)
        if first:
            _tell_sources(report, number)
        yield decode_report(report, decode_layout(serialized), 1 << 52, 0)


def _tell_sources(report: report_pb2.Report, number: int) -> None:
    for source in ("cpu", "memory", "disks"):
        report.sources.add(name=source, state=_WORKING)
    if number % 40 == 7:
        report.sources.add(
            name="rapl",
            state=_UNREADABLE,
            reason="energy_uj: permission denied",
            fix="give the agent CAP_DAC_READ_SEARCH",
        )
    else:
        report.sources.add(name="rapl", state=_WORKING)
    if number % 50 == 11:
        report.sources.add(
            name="workloads.inotify",
            state=_SUSPECT,
            reason="no space left on device",
            fix="sysctl fs.inotify.max_user_watches=1048576",
        )
