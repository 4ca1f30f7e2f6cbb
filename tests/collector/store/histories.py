"""Histories that make books hard."""

from __future__ import annotations

from joulebook.collector.ingest.decode import Decoded
from joulebook.v1 import report_pb2
from tests.simulated.cluster import Cluster
from tests.simulated.delivery import decoded
from tests.simulated.node import WALL_US, Load, SimulatedNode

AWKWARD = r'unit.dev\x2dq,a=b "c"%d\.service' + "\\"


def history(node: SimulatedNode, *, step_us: int = 0) -> list[Decoded]:
    """Return Reports in which workloads come and go, the agent restarts and the wall clock is set back."""
    sent: list[report_pb2.Report] = []
    loads = [Load("slurm.1", cpu_us=2_000_000, memory_bytes=1 << 30, name='a "b"\n\\', user="ü, x=1")]
    node.begin(loads)
    for number in range(8):
        for _ in range(3):
            node.tick()
        sent.append(node.report())
        if number == 1:
            node.begin([*loads, Load("slurm.2", cpu_us=1_500_000), Load(AWKWARD, cpu_us=9)])
        if number == 2:
            node.wall_us -= step_us
        if number == 4:
            node.tick()
            node.restart_agent()
    sent[3].ended.add(workload_id="slurm.1", end_unix_us=WALL_US, exit_status=-9)
    sent[4].ended.add(workload_id="", end_unix_us=WALL_US, exit_status=1)
    sent[4].sources.add(name="", state=report_pb2.SOURCE_STATE_ABSENT, reason="none\nat all \\")
    return decoded(node, sent)


def reports_of(of: Cluster) -> list[list[Decoded]]:
    """Return a cluster's Reports, by node."""
    return [decoded(n, [r for r in of.reports if r.node == n.name]) for n in of.nodes]
