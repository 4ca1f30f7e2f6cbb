"""What must hold: at any instant, and of the books when everything has come to rest.

Lost may be only what the policy of docs/delivery.md says: ticks of no Report yet, what was in memory
because the disk took nothing, what no sync had reached when the power went, what the spool's bounds
dropped. Even then what hardware counted on both sides must be in the books, as unattributed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from joulebook.agent.spool import records
from joulebook.agent.spool.records import Kind, Record
from joulebook.agent.spool.spool import Spool
from joulebook.agent.stream import WINDOW
from joulebook.collector.ingest.service import Response
from joulebook.v1 import report_pb2
from joulebook.v1.ingest_pb2 import Ack
from tests.simulation.disk import Disk
from tests.simulation.meters import Meter

if TYPE_CHECKING:
    from tests.simulation.agents import Agent, Node
    from tests.simulation.world import World

# Whose boot clock, start and end.
Place = tuple[bytes, int, int]


def covered(place: Place, spans: Iterable[Place]) -> bool:
    """Return whether some spans of the same boot hold all of a place."""
    boot, at, end = place
    for _, first, last in sorted(s for s in spans if s[0] == boot and s[2] > at and s[1] < end):
        if first > at:
            return False
        at = max(at, last)
    return at >= end


def places_on(disk: Disk) -> set[Place]:
    """Return the Reports that can be read off a disk."""
    found: set[Place] = set()
    for name, inode in disk.names.items():
        if name.endswith(".segment"):
            for record in records.scan(bytes(inode.data)):
                if isinstance(record, Record) and record.kind == Kind.REPORT:
                    report = report_pb2.Report.FromString(record.payload)
                    found.add(_place(report))
    return found


def _place(report: report_pb2.Report) -> Place:
    return report.boot, report.sequence, report.sequence + sum(report.interval_us)


class Oracle:
    """Knows what was measured and what became of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.problems: list[str] = []
        self.cuts: dict[str, dict[Place, None]] = {}
        self._put: dict[str, dict[Place, None]] = {}
        self._synced: dict[str, set[Place]] = {}
        self._at_risk: dict[str, set[Place]] = {}
        self.lost: dict[str, set[Place]] = {}
        # How many Reports each node's spools said they let go.
        self.let_go: Counter[str] = Counter()
        self.meters: dict[tuple[str, bytes], list[Meter]] = {}
        self.counts: Counter[str] = Counter()
        # A file that is synced may have been removed meanwhile.
        self._most_files: Counter[str] = Counter()

    def _problem(self, what: str) -> None:
        self.problems.append(f"{self._world.loop.time():.3f} {what}")
        self._world.trace("oracle", what)

    def session(self, node: Node, meter: Meter) -> None:
        """Note another life of an agent."""
        self.meters.setdefault((node.name, node.boot), []).append(meter)
        for kept in (self._put, self.cuts):
            kept.setdefault(node.name, {})
        for marked in (self._synced, self._at_risk, self.lost):
            marked.setdefault(node.name, set())

    def cut(self, node: Node, report: report_pb2.Report) -> None:
        """Note a Report that was cut."""
        self.cuts[node.name][_place(report)] = None
        self._world.trace(node.name, f"cut {report.sequence} of {len(report.interval_us)}")

    def put(self, node: Node, report: report_pb2.Report, spool: Spool) -> None:
        """Note a Report that the spool has taken."""
        self._put[node.name][_place(report)] = None
        self.counts["deepest spool"] = max(self.counts["deepest spool"], len(spool))

    def put_so_far(self, node: Node) -> set[Place]:
        """Return what the spool has taken."""
        return set(self._put[node.name])

    def synced(self, node: Node, places: set[Place]) -> None:
        """Note what must outlive the power now."""
        self._synced[node.name] |= places - self._at_risk[node.name]

    def sync_failed(self, node: Node, places: set[Place]) -> None:
        """Note what the kernel may have let go of."""
        self._at_risk[node.name] |= places - self._synced[node.name]

    def spooled(self, node: Node) -> set[Place]:
        """Return what is on a node's disk."""
        return places_on(node.disk)

    def _missing(self, node: Node) -> set[Place]:
        """Return what was put and is neither stored, nor on disk, nor known to be lost."""
        there = self.spooled(node) | self.stored(node.name)
        waiting = self._put[node.name].keys() - self.lost[node.name] - there
        return {place for place in waiting if not covered(place, there)}

    def stored(self, node: str) -> set[Place]:
        """Return what the store has of a node."""
        return {
            (one.decoded.boot, one.decoded.start_us, one.decoded.end_us)
            for one in self._world.store.stored()
            if one.decoded.node == node
        }

    def agent_died(self, agent: Agent) -> None:
        """Check that a dead agent leaves on disk whatever it had taken and nobody else has."""
        node, spool = agent.node, agent.spool
        if spool is None:
            return
        self._note_let_go(node.name, spool)
        if missing := self._missing(node):
            if spool.trouble:
                self.lost[node.name] |= missing
                self.counts["lost from memory"] += len(missing)
            else:
                self._explain(node.name, missing, "were put, and are neither on disk nor stored")

    def _note_let_go(self, node: str, spool: Spool) -> None:
        # One that was joined stands for several.
        self.let_go[node] += spool.counts.dropped + spool.counts.damaged + spool.counts.joined

    def _explain(self, node: str, missing: set[Place], what: str) -> None:
        """Take Reports for let go if a spool said so."""
        if len(missing) <= self.let_go[node]:
            self.let_go[node] -= len(missing)
            self.lost[node] |= missing
            self.counts["let go"] += len(missing)
        else:
            first = min(missing)
            self._problem(f"{node}: {len(missing)} reports {what}, {first[1]} the first of them")

    def power_was_cut(self, node: Node) -> None:
        """Check that only what no sync had reached went with the power."""
        missing = self._missing(node) if node.name in self._put else set()
        if synced := missing & self._synced[node.name]:
            self._explain(node.name, synced, "were synced, and went with the power")
        self.lost[node.name] |= missing
        self.counts["lost with the power"] += len(missing)

    def answered(self, response: Response) -> None:
        """Check that what is acknowledged is durable."""
        self.counts["layouts asked for"] += len(response.layouts_wanted)
        for ack in response.acks:
            self._acknowledged(ack)

    def _acknowledged(self, ack: Ack) -> None:
        self._world.trace("ack", f"{ack.boot[:2].decode()} {ack.sequence} {ack.code}")
        self.counts[f"answer {ack.code}"] += 1
        self.counts["duplicates"] += ack.duplicate
        node = ack.boot[:2].decode()
        if ack.code == 0 and not self._world.store.has(node, ack.boot, ack.sequence):
            self._problem(f"{node}: report {ack.sequence} is acknowledged and not durable")
        if ack.code not in (0, 6, 8, 11, 14):
            self._problem(f"{node}: report {ack.sequence} is refused: {ack.code} {ack.message}")

    def look(self) -> None:
        """Check what must hold at any instant: bounds in memory, and balance."""
        plan = self._world.plan
        for host in self._world.hosts:
            collector = host.collector
            if collector is None or collector.committer is None:
                continue
            if collector.committer._queue.qsize() > plan.queue_reports:
                self._problem("a collector's queue is beyond its bound")
            if collector.stats.residual_uj:
                self._problem(f"the books are {collector.stats.residual_uj} µJ off")
        for node in self._world.nodes:
            agent = node.agent
            if agent is None or agent.way is None or agent.spool is None:
                continue
            session = agent.way.session
            if session is not None and len(session._on_the_way) > WINDOW:
                self._problem(f"{node.name}: more is on its way than its window")
            # The lock's, two of each segment that is synced, and a few that are read or written.
            most = max(len(node.disk.names), self._most_files[node.name])
            self._most_files[node.name] = most
            if agent.files.open_descriptors() > 2 * most + 4:
                self._problem(f"{node.name}: holds {agent.files.open_descriptors()} descriptors")

    def rest(self) -> None:
        """Check that at the end every Report is stored, or lost as it may be."""
        for node in self._world.nodes:
            spans = self.stored(node.name)
            left = self.cuts.get(node.name, {}).keys() - spans - self.lost.get(node.name, set())
            # A Report that was being put when its agent died was never promised.
            left &= self._put.get(node.name, {}).keys()
            if missing := {place for place in left if not covered(place, spans)}:
                self._explain(node.name, missing, "were put and never came to the books")
            for (boot, _, end), (other, start, _) in pairwise(sorted(spans)):
                if boot == other and start < end:
                    self._problem(f"{node.name}: two stored reports overlap at {start}")
