"""A seed's world: everything in it, what happens to it, and whether the books hold what was measured."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from joulebook.agent.way import Target
from tests.simulation import faults
from tests.simulation.agents import Agent, Node
from tests.simulation.balance import Balance, settle
from tests.simulation.collectors import Host
from tests.simulation.disk import Trouble
from tests.simulation.duckdb_file import DuckDBFile
from tests.simulation.loop import Loop, Process
from tests.simulation.marks import Marks
from tests.simulation.mutations import Mutation
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle
from tests.simulation.plan import Plan, plan_of
from tests.simulation.stores import Shared, Transactions

# How long everything may take to come to rest once nothing goes wrong any more.
_REST_S = 3 * 3600.0
_LAST_TICKS_S = 30.0
_LAST_FLUSH_S = 600.0
# How often at most the power of a real store is cut while it is written.
_POWER_CUTS = 6


@dataclass(slots=True)
class Outcome:
    """What became of a seed."""

    seed: int
    problems: list[str] = field(default_factory=list)
    balance: Balance = field(default_factory=Balance)
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Return the trace's name: the same for the same seed, always."""
        return hashlib.blake2b("\n".join(self.trace).encode(), digest_size=8).hexdigest()


class World:
    """Agents, a network, collectors and a store; nothing in it but the seed is left to chance."""

    def __init__(self, plan: Plan, mutation: Mutation, directory: Path) -> None:
        self.plan, self.mutation = plan, mutation
        self.lines: list[str] = []
        self.loop = Loop(Random(f"{plan.seed} order"))
        self.network = Network(self.loop, Random(f"{plan.seed} network"))
        self.ghost = Process("ghost")
        self.oracle = Oracle(self)
        self.faults: Counter[str] = Counter()
        self._rng = Random(f"{plan.seed} faults")
        self._calm = False
        self._resting = False
        self._down_until: dict[str, float] = {}
        self.store = self._store(directory)
        targets: list[Target] = [(f"c{i}", 8461) for i in range(plan.collectors)]
        self.hosts = [Host(self, target) for target in targets]
        self.nodes: list[Node] = []
        for number in range(plan.nodes):
            own = targets[:]
            self._rng.shuffle(own)
            self.nodes.append(Node(self, number, own))

    def _store(self, directory: Path) -> Shared:
        rng = Random(f"{self.plan.seed} store")
        match self.plan.store:
            case "duckdb":
                return DuckDBFile(self.loop, rng, directory, power_cuts=min(self.plan.faults, _POWER_CUTS))
            case "marks":
                return Marks(self.loop, rng, Process("store"))
            case _:
                return Transactions(self.loop, rng)

    def trace(self, who: str, what: str) -> None:
        """Note what happens."""
        self.lines.append(f"{self.loop.time():.6f} {who}: {what}")

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Have something happen later, of its own accord."""
        self.loop.call_later(delay_s, do, context=self.ghost.context)

    def keep_down(self, node: Node, length_s: float) -> None:
        """Let no one start a node's agent for so long."""
        self._down_until[node.name] = self.loop.time() + length_s

    def _tend(self) -> None:
        """Start again what died, sooner or later, and look whether all is as it must be."""
        self.oracle.look()
        for node in self.nodes:
            if node.agent is None and self.loop.time() >= self._down_until.get(node.name, 0):
                self._down_until[node.name] = self.loop.time()
                node.start()
        for host in self.hosts:
            host.start()
        if self._resting:
            # Those too that are started only now: between two ticks all must be able to arrive.
            for agent in self._agents():
                agent.tick_s = _LAST_TICKS_S
        again_s = 0.2 if self._calm else self._rng.choice([0.1, 1.0, 10.0])
        self.after(again_s, self._tend)

    def _strike(self) -> None:
        if not self._calm:
            fault = faults.draw(self._rng)
            self.faults[fault.__name__] += 1
            self.trace("fault", fault.__name__)
            fault(self, self._rng)

    def _heal(self) -> None:
        self._calm = True
        self.trace("world", "nothing goes wrong any more")
        self._down_until.clear()
        self.store.heal()
        for node in self.nodes:
            node.disk.trouble = Trouble()
            node.wall_offset_us = 0
        for host in self.hosts:
            host.wall_offset_us = 0
        for link in self.network.links.values():
            link.slow_s = 0.02
            self.network.heal(link)

    def _agents(self) -> list[Agent]:
        """Return the agents that run and go on running: who is ending cuts no Report any more."""
        agents = [node.agent for node in self.nodes if node.agent is not None]
        return [agent for agent in agents if agent.streaming is not None and not agent.ending]

    def _quiet(self) -> bool:
        agents = self._agents()
        return len(agents) == len(self.nodes) and all(
            agent.spool is not None and not len(agent.spool) and not agent.spool.trouble for agent in agents
        )

    def run(self) -> Outcome:
        """Let it all happen, come to rest, and check the books."""
        plan, loop = self.plan, self.loop
        for host in self.hosts:
            host.start()
        for node in self.nodes:
            node.start()
        self._tend()
        at_s = 0.0
        for when in sorted(self._rng.uniform(0, plan.length_s) for _ in range(plan.faults)):
            at_s = max(at_s, when)
            self.after(at_s, self._strike)
        loop.run_until(plan.length_s)
        # Who is kept away for days comes back to a world with what else was going on.
        loop.run_until(max([plan.length_s, *self._down_until.values()]))
        self._heal()
        loop.run_until(loop.time() + 3 * plan.tick_s)
        self._resting = True
        rest_s = loop.time() + _REST_S
        loop.run_until(rest_s, self._quiet)
        last = self._agents()
        for agent in last:
            agent.process.fuse = -1
            loop.spawn(agent.process, agent.stop(_LAST_FLUSH_S))
        # What is stopped stays so.
        self._down_until = {node.name: float("inf") for node in self.nodes}
        loop.run_until(loop.time() + 2 * _LAST_FLUSH_S, lambda: not any(a.process.alive for a in last))
        if len(last) < len(self.nodes) or any(a.process.alive for a in last):
            self.oracle.problems.append("an agent does not come to rest")
        for agent in last:
            if agent.spool is not None and len(agent.spool):
                self.oracle.problems.append(
                    f"{agent.node.name}: {len(agent.spool)} reports are not acknowledged at the end"
                )
        loop.run_until(loop.time() + 100)
        self.oracle.rest()
        balance = settle(self)
        self.oracle.problems += loop.failures
        self.store.close()
        return self._outcome(balance)

    def _outcome(self, balance: Balance) -> Outcome:
        counts = self.oracle.counts
        counts["reports"] = sum(map(len, self.oracle.cuts.values()))
        counts["stored"] = len(self.store.stored())
        self.faults["store failures"] += self.store.failed
        if isinstance(self.store, DuckDBFile):
            self.faults += self.store.counts
        self.faults["disk failures"] += sum(node.disk.failures for node in self.nodes)
        for problem in self.oracle.problems:
            self.trace("problem", problem)
        self.trace("world", f"{balance} {sorted(counts.items())}")
        return Outcome(self.plan.seed, self.oracle.problems, balance, self.faults, counts, self.lines)


def simulate(seed: int, mutation: Mutation | None = None, plan: Plan | None = None) -> Outcome:
    """Run a seed's world."""
    logger = logging.getLogger("joulebook")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with tempfile.TemporaryDirectory(prefix="joulebook-simulation-") as directory:
            world = World(plan or plan_of(seed), mutation or Mutation(), Path(directory))
            try:
                return world.run()
            finally:
                world.loop.end()
    finally:
        logger.setLevel(before)


def outcome_of(seed: int) -> Outcome:
    """Run a seed's world, and leave its long trace behind."""
    outcome = simulate(seed)
    outcome.trace = []
    return outcome
