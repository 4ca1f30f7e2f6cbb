"""An hour of three nodes with all that dashboards show: GPUs, jobs, disks, network, a gap, a late Report."""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.collector.store.protocol import Store
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import by_name, catalogue
from tests.simulated.delivery import decoded, deliver
from tests.simulated.node import WALL_US, Load, SimulatedNode

JOB = "slurm.42"
SECOND_JOB = "slurm.43"
# What a pattern would take for something else, were it not escaped.
AWKWARD_JOB = "run.a+b(c)/d"
# It ran no longer than from the beginning to here.
AWKWARD_ENDED_US = WALL_US + 600_000_000
NODES = ("n1", "n2", "n3")
GPUS = {"n1": ("gpu.0", "gpu.1"), "n2": ("gpu.0",), "n3": ()}
# After the last Report.
END_US = WALL_US + 3_600_000_000
TICK_US = 5_000_000
_TICKS_A_REPORT = 2
_REPORTS = 360
_LOST = 200
# Of n1 the last one, which tells JOB's end, comes after all others, and after it this one, which raises JOB's
# revision.
_LATE = 100
_COUNTER, _MODEL = report_pb2.SOURCE_KIND_COUNTER, report_pb2.SOURCE_KIND_MODEL


@dataclass(frozen=True, slots=True)
class Rack:
    """The nodes, whose meters tell what must be in the books, and what of n1's passed in the gap."""

    nodes: tuple[SimulatedNode, ...]
    lost_uj: int
    lost_gpu_uj: int

    @property
    def measured_uj(self) -> int:
        """Return what the meters of all nodes delivered."""
        return sum(node.measured_uj for node in self.nodes)


def fill(store: Store) -> Rack:
    """Book the hour, up to END_US: n1 and n2 work and have GPUs, n3 is idle and modelled."""
    system = Load("unit.sshd.service", kind=report_pb2.WORKLOAD_KIND_SYSTEM, cpu_us=50_000)
    job = Load(JOB, cpu_us=2_000_000, memory_bytes=8 << 30, io_bytes=5_000, user="ada", name="train")
    job.gpus_held, job.gpu_ppm, job.reserved_millicpus = ("gpu.0",), {"gpu.0": 900_000}, 4000
    second = Load(SECOND_JOB, cpu_us=1_000_000, user="bob", name="sort", gpu_ppm={"gpu.1": 300_000})
    awkward = Load(AWKWARD_JOB, cpu_us=500_000, user="o'neill")
    nodes = (
        _node("n1", ("node", "cpu.0", "memory.0", *GPUS["n1"]), gpu_idle_mw=500),
        _node("n2", ("cpu.0", "memory.0", *GPUS["n2"]), gpu_idle_mw=500),
        _node("n3", ("cpu.0", "memory.0"), modelled=True),
    )
    # From which Report on who is on which node.
    loads = {
        "n1": {0: [job, system], 180: [job, second, system]},
        "n2": {0: [job, awkward, system], 60: [job, system]},
        "n3": {0: [system]},
    }
    lost_uj, later = 0, {}
    for node in nodes:
        reports = []
        for number in range(_REPORTS):
            if number in loads[node.name]:
                node.begin(loads[node.name][number])
            before_uj = node.measured_uj
            for _ in range(_TICKS_A_REPORT):
                node.tick(TICK_US)
            report = node.report()
            # On n1 one is lost on its way: a gap.
            if (node.name, number) == ("n1", _LOST):
                lost_uj = node.measured_uj - before_uj
            elif node.name == "n1" and number in (_LATE, _REPORTS - 1):
                later[number] = report
            else:
                reports.append(report)
        if node.name != "n3":
            last = later[_REPORTS - 1] if node.name == "n1" else reports[-1]
            last.ended.add(workload_id=JOB, end_unix_us=END_US - 2 * TICK_US, exit_status=0)
        _tell_sources(reports[0], unreadable=node.name == "n3")
        deliver(store, [decoded(node, reports)])
    deliver(store, [decoded(nodes[0], [later[number]]) for number in sorted(later, reverse=True)])
    return Rack(nodes, lost_uj, _TICKS_A_REPORT * len(GPUS["n1"]) * nodes[0].gpu_uj)


def _node(
    name: str, domains: tuple[str, ...], *, gpu_idle_mw: int = 0, modelled: bool = False
) -> SimulatedNode:
    kind = _MODEL if modelled else _COUNTER
    return SimulatedNode(
        name=name,
        boot=name.encode() * 8,
        domains=[(domain, kind) for domain in domains],
        gpu_uj=5_000_000,
        gpu_idle_mw=gpu_idle_mw,
        also=_everything(GPUS[name]),
    )


def _everything(gpus: tuple[str, ...]) -> dict[tuple[int, str], int]:
    """Return an amount for every metric of nodes and devices that a SimulatedNode does not make by itself."""
    made = {
        by_name()[name].number for name in ("cpu_busy_us", "memory_used_bytes", "read_bytes", "written_bytes")
    }
    also = {}
    for entry in catalogue().values():
        if entry.number in made or entry.subject not in ("node", "device"):
            continue
        if entry.subject == "node":
            devices: tuple[str, ...] = ("",)
        elif entry.name.startswith("gpu_"):
            devices = gpus
        elif entry.name in ("received_bytes", "sent_bytes", "packets_received", "packets_sent"):
            devices = ("eth0",)
        else:
            devices = ("nvme0n1",)
        for device in devices:
            also[entry.number, device] = 400_000
    return also


def _tell_sources(report: report_pb2.Report, *, unreadable: bool) -> None:
    report.sources.add(name="cpu", state=report_pb2.SOURCE_STATE_WORKING)
    if unreadable:
        report.sources.add(
            name="rapl",
            state=report_pb2.SOURCE_STATE_UNREADABLE,
            reason="energy_uj: permission denied",
            fix="give the agent CAP_DAC_READ_SEARCH",
        )
