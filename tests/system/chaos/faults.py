"""What happens to a fleet: each fault lasts until it was felt, and never for a time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from random import Random

from tests.system.chaos.fleet import Fleet, Node, Program

# So much of a meter's energy passes while something is away.
_AWAY_UJ = 2_000_000
# So often that energy passes before it is too often.
_PATIENCE = 100
Fault = Callable[[Fleet, Random], None]


def _pass_by(fleet: Fleet, node: Node) -> None:
    """Wait until a meter has given some energy."""
    goal_uj = node.counter.delivered_uj + _AWAY_UJ
    fleet.until(lambda: node.counter.delivered_uj >= goal_uj)


def _kill(fleet: Fleet, node: Node, *programs: Program, store: bool = False) -> None:
    """Kill -9 programs, and the store where it says so; they are away while a meter goes on."""
    if store:
        fleet.store.kill()
    for program in programs:
        program.end(signal.SIGKILL)
    _pass_by(fleet, node)
    if store:
        fleet.store.start()
    for program in programs:
        program.start()


def kill_agent(fleet: Fleet, rng: Random) -> None:
    """Kill -9 an agent; its meter goes on while it is away."""
    node = rng.choice(fleet.nodes)
    _kill(fleet, node, node.agent)


def kill_collector(fleet: Fleet, rng: Random) -> None:
    """Kill -9 a collector under load."""
    _kill(fleet, fleet.nodes[0], rng.choice(fleet.collectors))


def kill_both(fleet: Fleet, rng: Random) -> None:
    """Kill -9 an agent and every collector at once."""
    node = rng.choice(fleet.nodes)
    _kill(fleet, node, *fleet.collectors, node.agent)


def kill_store(fleet: Fleet, rng: Random) -> None:
    """Kill -9 the store under load; it is away until agents have measured more."""
    if not fleet.store.serves:
        return kill_collector(fleet, rng)
    return _kill(fleet, rng.choice(fleet.nodes), store=True)


def kill_all(fleet: Fleet, rng: Random) -> None:
    """Kill -9 an agent, every collector and the store at once."""
    node = rng.choice(fleet.nodes)
    _kill(fleet, node, *fleet.collectors, node.agent, store=fleet.store.serves)


def cut_link(fleet: Fleet, rng: Random) -> None:
    """Cut an agent off from every collector until the books of its node rest.

    What a collector had taken before comes to the books a second or more after: it gathers Reports while it
    rests from its last commit. But that was measured before, and from now on no packet comes out.
    """
    node = rng.choice(fleet.nodes)
    node.network.cut()
    most_uj, received = node.counter.delivered_uj, node.network.received()
    before_uj = None
    for _ in range(_PATIENCE):
        booked_uj = fleet.booked_uj(node)
        if booked_uj is not None and booked_uj > most_uj:
            more_uj, after_uj = booked_uj - most_uj, fleet.booked_uj(node)
            raise AssertionError(
                f"{node.name}: booked are {more_uj} µJ more than it delivered when its link was cut; "
                f"asked again, {(after_uj or 0) - most_uj}"
            )
        if booked_uj is not None and booked_uj == before_uj:
            break
        before_uj = booked_uj
        _pass_by(fleet, node)
    else:
        raise AssertionError(f"{node.name}: its books do not come to rest, though its link is cut")
    came = node.network.received() - received
    if came:
        raise AssertionError(f"{node.name}: {came} packets came through a cut link")
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


FAULTS: tuple[Fault, ...] = (
    *(kill_collector, kill_agent, cut_link, fill_disk, kill_store, kill_both),
    kill_all,
)
