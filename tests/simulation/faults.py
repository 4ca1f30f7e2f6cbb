"""What happens to a world: one function a fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from grpclib.exceptions import StreamTerminatedError

from joulebook.agent.stream import Request
from tests.simulation.disk import Trouble
from tests.simulation.loop import Process
from tests.simulation.network import Call
from tests.simulation.stores import Outage

if TYPE_CHECKING:
    from tests.simulation.agents import Node
    from tests.simulation.collectors import Host
    from tests.simulation.world import World

_DAY_S = 86_400.0
Fault = Callable[["World", Random], None]


def _node(world: World, rng: Random) -> Node:
    return rng.choice(world.nodes)


def _lasts(world: World, rng: Random, end: Callable[[], None]) -> None:
    """Have something end after a while."""
    world.after(rng.choice([0.1, 1.0, 10.0, 100.0]) * rng.random(), end)


def kill_agent(world: World, rng: Random) -> None:
    """Kill -9 an agent between two steps; it is started again."""
    _node(world, rng).kill()


def kill_agent_soon(world: World, rng: Random) -> None:
    """Let an agent die in whatever step it is then: a write, a sync, a rename, an await."""
    if (agent := _node(world, rng).agent) is not None:
        agent.process.fuse = rng.choice([rng.randrange(20), rng.randrange(400)])


def stop_agent(world: World, rng: Random) -> None:
    """Have an agent stop in order."""
    agent = _node(world, rng).agent
    if agent is not None and agent.streaming is not None and not agent.ending:
        world.loop.spawn(agent.process, agent.stop())


def cut_power(world: World, rng: Random) -> None:
    """Take a node's power away; it boots again."""
    _node(world, rng).cut_power()


def kill_collector(world: World, rng: Random) -> None:
    """Kill -9 a collector between two steps."""
    rng.choice(world.hosts).kill()


def kill_collector_soon(world: World, rng: Random) -> None:
    """Let a collector die in whatever step it is then: before, in or after a commit, before an answer."""
    if (collector := rng.choice(world.hosts).collector) is not None:
        collector.process.fuse = rng.choice([rng.randrange(20), rng.randrange(300)])


def cut_link(world: World, rng: Random) -> None:
    """Cut a node off from a collector for a while; what is under way waits."""
    link = world.network.link(_node(world, rng).name, rng.choice(world.hosts).target)
    link.cut = True
    _lasts(world, rng, lambda: world.network.heal(link))


def slow_link(world: World, rng: Random) -> None:
    """Make a link slow for a while."""
    link = world.network.link(_node(world, rng).name, rng.choice(world.hosts).target)
    link.slow_s = rng.choice([1.0, 20.0])

    def end() -> None:
        link.slow_s = 0.02

    _lasts(world, rng, end)


def break_connections(world: World, rng: Random) -> None:
    """Break a link's connections: one end may know long before the other, what was under way is gone."""
    link = world.network.link(_node(world, rng).name, rng.choice(world.hosts).target)
    for connection in link.connections:
        connection.up.swallows = connection.down.swallows = True
        world.after(rng.random() * rng.choice([0.01, 10.0]), connection.break_client)
        world.after(rng.random() * rng.choice([0.01, 10.0, 1000.0]), connection.break_server)


def half_open(world: World, rng: Random) -> None:
    """Have a link swallow what goes one way of its connections, and tell nobody."""
    link = world.network.link(_node(world, rng).name, rng.choice(world.hosts).target)
    for connection in link.connections:
        pipe = rng.choice([connection.up, connection.down])
        pipe.swallows = True


def full_disk(world: World, rng: Random) -> None:
    """Let a node's disk be full, or nearly, for a while."""
    disk = _node(world, rng).disk
    disk.trouble.room_bytes = disk.used_bytes() + rng.choice([0, 100, 2000])
    _lasts(world, rng, lambda: setattr(disk, "trouble", Trouble()))


def bad_disk(world: World, rng: Random) -> None:
    """Let calls on a node's disk fail now and then, or always, for a while."""
    disk = _node(world, rng).disk
    disk.trouble.fails = rng.choice([0.0, 0.05, 0.5, 1.0])
    disk.trouble.sync_fails = rng.choice([0.0, 0.3, 1.0])
    _lasts(world, rng, lambda: setattr(disk, "trouble", Trouble()))


def slow_disk(world: World, rng: Random) -> None:
    """Let a node's disk be slow for a while."""
    disk = _node(world, rng).disk
    disk.trouble.slow_s = rng.choice([0.1, 2.0, 30.0])
    _lasts(world, rng, lambda: setattr(disk, "trouble", Trouble()))


def bad_store(world: World, rng: Random) -> None:
    """Let commits fail, and some of them be done all the same, for a while."""
    world.store.outage.fails = rng.choice([0.1, 0.5, 1.0])
    _lasts(world, rng, lambda: setattr(world.store, "outage", Outage()))


def slow_store(world: World, rng: Random) -> None:
    """Let the store be slow for a while."""
    world.store.outage.slow_s = rng.choice([0.5, 5.0, 50.0])
    _lasts(world, rng, lambda: setattr(world.store, "outage", Outage()))


def no_store(world: World, rng: Random) -> None:
    """Let the store be away for a while."""
    world.store.outage.away = True
    _lasts(world, rng, lambda: setattr(world.store, "outage", Outage()))


def step_clock(world: World, rng: Random) -> None:
    """Set a wall clock, forth or back."""
    step_us = rng.choice([-1, 1]) * rng.choice([1_000_000, 100_000_000, 1_000_000_000])
    clocks: list[Node | Host] = [*world.nodes, *world.hosts]
    rng.choice(clocks).wall_offset_us += step_us


def repeat(world: World, rng: Random) -> None:
    """Send again, to any collector and in any order, what agents sent before: an old stream comes through."""
    sent = world.network.sent
    if sent:
        messages = [rng.choice(sent) for _ in range(rng.randint(1, 8))]
        world.loop.spawn(world.ghost, _haunt(world, rng, messages))


async def _haunt(world: World, rng: Random, messages: list[bytes]) -> None:
    if rng.random() < 0.3:
        await asyncio.sleep(rng.random() * 200)
    call = Call(world.network, "ghost", rng.choice(world.hosts).target, Process("ghost"))
    try:
        await call.send_request()
        for data in messages:
            await call.send_message(Request.FromString(data))
        await call.end()
        while await call.recv_message() is not None:
            pass
    except (OSError, StreamTerminatedError):
        return


def away_for_days(world: World, rng: Random) -> None:
    """Keep the only node's agent from being started for days, with what waits in its spool."""
    if len(world.nodes) == 1:
        node = world.nodes[0]
        world.keep_down(node, _DAY_S * rng.choice([0.2, 2.0, 9.0]))
        node.kill()


FAULTS: dict[Fault, int] = {
    kill_agent: 3,
    kill_agent_soon: 6,
    stop_agent: 2,
    cut_power: 4,
    kill_collector: 3,
    kill_collector_soon: 6,
    cut_link: 4,
    slow_link: 2,
    break_connections: 4,
    half_open: 2,
    full_disk: 3,
    bad_disk: 3,
    slow_disk: 2,
    bad_store: 4,
    slow_store: 2,
    no_store: 2,
    step_clock: 3,
    repeat: 5,
    away_for_days: 1,
}


def draw(rng: Random) -> Fault:
    """Return some fault."""
    return rng.choices(list(FAULTS), list(FAULTS.values()))[0]
