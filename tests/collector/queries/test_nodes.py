"""Nodes say what they are, what measures them, and where their power goes now."""

import pytest

from joulebook.collector.queries.errors import UnknownNameError
from joulebook.collector.queries.nodes import get_node, list_nodes
from tests.simulated.cluster import JOB, Cluster


def test_facts(books: Cluster) -> None:
    """A node's host, domains, sources and jobs are those of its newest Report."""
    node = get_node(books.store, "n2", now_us=books.now_us)
    assert (node.node, node.last_report_us, node.jobs) == ("n2", books.now_us, [JOB])
    assert (node.host.logical_cpus, node.boot, node.agent_version) == (
        8,
        bytes(range(16, 32)).hex(),
        "simulated",
    )
    assert [(d.domain, d.source, d.kind, d.accuracy_ppm) for d in node.domains] == [
        ("cpu.0", "simulated", "counter", 30_000),
        ("memory.0", "simulated", "counter", 30_000),
    ]
    assert [(s.name, s.state, s.fix) for s in node.sources] == [("rapl", "unreadable", "run as root")]


@pytest.mark.parametrize("name", ["n1", "n2"])
def test_power_now_adds_up(books: Cluster, name: str) -> None:
    """Power by account adds up to the node's: idle, memory and 2.05 busy CPUs, a quarter more with a PSU."""
    node = get_node(books.store, name, now_us=books.now_us)
    powers = [account.power_mw for account in node.accounts]
    assert powers == sorted(powers, reverse=True)
    # n1's newest half minute holds a Report in which another job ran on one CPU too.
    truth_mw = 66_500 if name == "n2" else (66_500 + 76_500) // 2 * 5 // 4
    assert node.power_mw == sum(powers)
    assert node.power_mw == pytest.approx(truth_mw, abs=len(powers))


def test_list_is_each_node(books: Cluster) -> None:
    """The list holds what is told of each node by itself."""
    found = list_nodes(books.store, limit=10, cursor=None, now_us=books.now_us)
    assert found.items == [get_node(books.store, name, now_us=books.now_us) for name in ("n1", "n2")]


def test_pages_follow_each_other(books: Cluster) -> None:
    """Pages of one node each are the whole list."""
    first = list_nodes(books.store, limit=1, cursor=None, now_us=books.now_us)
    second = list_nodes(books.store, limit=1, cursor=first.next_cursor, now_us=books.now_us)
    assert [page.items[0].node for page in (first, second)] == ["n1", "n2"]
    assert second.next_cursor is None


def test_silent_node_has_no_power_now(books: Cluster) -> None:
    """Of a node that has long said nothing no power is given, rather than an old one."""
    node = get_node(books.store, "n1", now_us=books.now_us + 3_600_000_000)
    assert (node.power_mw, node.accounts) == (None, [])


def test_unknown_node_is_refused(books: Cluster) -> None:
    """A node that is not in the books is refused by name."""
    with pytest.raises(UnknownNameError, match="node 'x'"):
        get_node(books.store, "x", now_us=0)
