"""What happens to a fleet: each fault lasts until it was felt, and never for a time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from random import Random

from tests.system.chaos.fleet import Fleet, Node

# So much of a meter's energy passes while something is away.
_AWAY_UJ = 2_000_000
# So often that energy passes before it is too often.
_PATIENCE = 100
Fault = Callable[[Fleet, Random], None]


def _pass_by(fleet: Fleet, node: Node) -> None:
    """Wait until a meter has given some energy."""
    goal_uj = node.counter.delivered_uj + _AWAY_UJ
    fleet.until(lambda: node.counter.delivered_uj >= goal_uj)


def kill_agent(fleet: Fleet, rng: Random) -> None:
    """Kill -9 an agent; its meter goes on while it is away."""
    node = rng.choice(fleet.nodes)
    node.agent.end(signal.SIGKILL)
    _pass_by(fleet, node)
    node.agent.start()


def kill_collector(fleet: Fleet, rng: Random) -> None:
    """Kill -9 a collector under load."""
    collector = rng.choice(fleet.collectors)
    collector.end(signal.SIGKILL)
    _pass_by(fleet, fleet.nodes[0])
    collector.start()


def kill_both(fleet: Fleet, rng: Random) -> None:
    """Kill -9 an agent and every collector at once."""
    node = rng.choice(fleet.nodes)
    for program in (*fleet.collectors, node.agent):
        program.end(signal.SIGKILL)
    _pass_by(fleet, node)
    for program in (*fleet.collectors, node.agent):
        program.start()


def kill_store(fleet: Fleet, rng: Random) -> None:
    """Kill -9 InfluxDB under load; it is away until agents have measured more."""
    if fleet.influx is None:
        return kill_collector(fleet, rng)
    fleet.influx.kill()
    _pass_by(fleet, rng.choice(fleet.nodes))
    return fleet.influx.start()


def cut_link(fleet: Fleet, rng: Random) -> None:
    """Cut an agent off from every collector until nothing of it arrives any more."""
    node = rng.choice(fleet.nodes)
    node.network.cut()
    # What a busy collector had taken before comes to the books after.
    for _ in range(_PATIENCE):
        before_uj = fleet.booked_uj(node)
        _pass_by(fleet, node)
        if before_uj is not None and fleet.booked_uj(node) == before_uj:
            break
    else:
        raise AssertionError("something comes through a cut link, again and again")
    node.network.mend()


def fill_disk(fleet: Fleet, rng: Random) -> None:
    """Keep the disk of an agent's spool full until the agent says so, then until it has room again."""
    node = rng.choice(fleet.nodes)
    said = node.agent.said().count("reports are kept in memory")
    node.disk.fill()

    def felt() -> bool:
        # What is acknowledged gives room back.
        node.disk.fill()
        return node.agent.said().count("reports are kept in memory") > said

    # With a collector there, what is on disk is given back at once: the link is cut meanwhile.
    node.network.cut()
    try:
        fleet.until(felt)
        _pass_by(fleet, node)
    finally:
        node.disk.free()
        node.network.mend()
    moved = node.agent.said().count("can be written again")
    fleet.until(lambda: node.agent.said().count("can be written again") >= max(1, moved))


FAULTS: tuple[Fault, ...] = (kill_collector, kill_agent, cut_link, fill_disk, kill_store, kill_both)
