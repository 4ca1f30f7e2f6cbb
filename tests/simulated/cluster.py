"""Two nodes' books with all that makes books hard: containers, a gap, a restart, a job over both."""

from dataclasses import dataclass

from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.v1 import report_pb2
from tests.simulated.delivery import decoded, deliver
from tests.simulated.node import WALL_US, Load, SimulatedNode

JOB = "run.abc"
ENDED_JOB = "slurm.42"
_COUNTER = report_pb2.SOURCE_KIND_COUNTER


@dataclass(slots=True)
class Cluster:
    """A store that holds the books of both nodes, the nodes, and what must be in the books."""

    path: str
    store: DuckDBStore
    nodes: tuple[SimulatedNode, SimulatedNode]
    reports: list[report_pb2.Report]
    # Wall clock at the end of the newest Report.
    now_us: int
    # When the job that ended did so, on the first node.
    ended_us: int
    # Energy of the Report that never arrived, measured all the same.
    unattributed_uj: int

    @property
    def measured_uj(self) -> int:
        """Return what both nodes' meters delivered."""
        return sum(node.measured_uj for node in self.nodes)


def cluster(path: str = ":memory:") -> Cluster:
    """Build it: n1 with a node meter around its parts, n2 without; ten ticks a Report, four Reports each."""
    store = DuckDBStore(path)
    n1 = SimulatedNode(name="n1", domains=[("node", _COUNTER), ("cpu.0", _COUNTER), ("memory.0", _COUNTER)])
    n2 = SimulatedNode(name="n2", boot=bytes(range(16, 32)))
    system = Load("unit.sshd.service", kind=report_pb2.WORKLOAD_KIND_SYSTEM, cpu_us=50_000)
    job = Load(JOB, cpu_us=2_000_000, memory_bytes=8 << 30, name="train", user="ada", reserved_millicpus=4000)
    ended = Load(ENDED_JOB, cpu_us=1_000_000, memory_bytes=1 << 30, name="sort", user="bob")

    first = [_report(n1, [job, ended, system])]
    before_uj = n1.measured_uj
    _report(n1, None)  # lost on its way: a gap in the books
    unattributed_uj = n1.measured_uj - before_uj
    first.append(_report(n1, None))
    ended_us = WALL_US + n1.now_us - 50_000_000
    first[-1].ended.add(workload_id=ENDED_JOB, end_unix_us=ended_us, exit_status=3)
    first.append(_report(n1, [job, system]))

    second = [_report(n2, [job, system]), _report(n2, None)]
    n2.restart_agent()
    second += [_report(n2, None), _report(n2, None)]
    second[0].sources.add(
        name="rapl",
        state=report_pb2.SOURCE_STATE_UNREADABLE,
        reason="energy_uj: permission denied",
        fix="run as root",
    )
    deliver(store, [decoded(n1, first), decoded(n2, second)])
    now_us = WALL_US + n1.now_us - 50_000_000
    return Cluster(path, store, (n1, n2), [*first, *second], now_us, ended_us, unattributed_uj)


def _report(node: SimulatedNode, loads: list[Load] | None) -> report_pb2.Report:
    if loads is not None:
        node.begin(loads)
    for _ in range(10):
        node.tick()
    return node.report()
