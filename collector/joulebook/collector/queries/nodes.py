"""Nodes: what they are, how well they are measured, and where their power goes now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import EnumDescriptor

from joulebook.collector.queries.errors import UnknownNameError, expected_name
from joulebook.collector.queries.pages import Page, page
from joulebook.collector.store.protocol import Range, Store, StoreView
from joulebook.collector.store.rows import NodeRow
from joulebook.v1 import report_pb2
from joulebook.v1.naming import jobs_of

# What `now` means for power: a few Reports, so that one odd second does not show.
_NOW_US = 30_000_000
# A node that said nothing for longer has no power now, as far as anyone knows.
_SILENT_US = 600_000_000


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The machine."""

    logical_cpus: int
    packages: int
    memory_bytes: int
    cpu_model: str
    virtualization: str


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """An energy domain and the meter behind it."""

    domain: str
    source: str
    kind: str
    resolution_uj: int
    period_us: int
    accuracy_ppm: int


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """How a source of readings stands."""

    name: str
    state: str
    reason: str
    fix: str


@dataclass(frozen=True, slots=True)
class AccountPower:
    """Mean power of an account on a node."""

    account: str
    power_mw: int


@dataclass(frozen=True, slots=True)
class Node:
    """A node as its newest Report left it; no power where it is not known now."""

    node: str
    last_report_us: int
    boot: str
    agent_version: str
    host: HostFacts
    power_mw: int | None
    accounts: list[AccountPower]
    domains: list[DomainFacts]
    sources: list[SourceFacts]
    jobs: list[str]


def list_nodes(store: Store, *, limit: int, cursor: str | None, now_us: int) -> Page[Node]:
    """Return nodes by name."""
    with store.snapshot() as frozen:
        taken = page(frozen.nodes(sources=False), lambda row: (row.node,), limit, cursor)
        rows = frozen.nodes([row.node for row in taken.items]) if taken.items else []
        powers = _powers(frozen, rows, now_us)
    return Page([_node(row, powers.get(row.node)) for row in rows], taken.next_cursor)


def get_node(store: Store, node: str, *, now_us: int) -> Node:
    """Return a node. Raises UnknownNameError where there is none of that name."""
    with store.snapshot() as frozen:
        rows = frozen.nodes([node])
        if not rows:
            known = frozen.node_names()
            raise UnknownNameError("node", node, expected_name("a node in the books", node, known))
        powers = _powers(frozen, rows, now_us)
    return _node(rows[0], powers.get(node))


def _powers(store: StoreView, rows: Sequence[NodeRow], now_us: int) -> dict[str, list[AccountPower]]:
    """Return each node's power by account over its own newest half minute."""
    speaking = [row for row in rows if row.last_unix_us > now_us - _SILENT_US]
    if not speaking:
        return {}
    newest = max(row.last_unix_us for row in speaking)
    found: dict[str, list[AccountPower]] = {}
    if len(speaking) > 1:
        found = _power_within(store, Range(newest - _NOW_US, newest))
    for row in speaking:
        # Few are: those that report less often, or fell silent just now.
        if row.node not in found:
            found |= _power_within(store, Range(row.last_unix_us - _NOW_US, row.last_unix_us, row.node))
    return found


def _power_within(store: StoreView, selected: Range) -> dict[str, list[AccountPower]]:
    if selected.from_us < store.books_kept().rows_us:
        # Only where the collector's clock was set back by days.
        return {}
    watched = {row.node: row for row in store.watched(selected)}
    found: dict[str, list[AccountPower]] = defaultdict(list)
    for account, node, energy_uj in store.energies(selected):
        time = watched.get(node)
        # What passed in a gap is known only now, but was not drawn now.
        if time is None or not time.reported_us or (account == "unattributed" and time.gap_us):
            continue
        found[node].append(AccountPower(account, energy_uj * 1000 // time.reported_us))
    return found


def _node(row: NodeRow, powers: list[AccountPower] | None) -> Node:
    layout = row.layout.message
    host = layout.host
    return Node(
        node=row.node,
        last_report_us=row.last_unix_us,
        boot=row.boot.hex(),
        agent_version=layout.agent_version,
        host=HostFacts(
            host.logical_cpus, host.packages, host.memory_bytes, host.cpu_model, host.virtualization
        ),
        power_mw=sum(p.power_mw for p in powers) if powers else None,
        accounts=sorted(powers or [], key=lambda p: (-p.power_mw, p.account)),
        domains=[
            DomainFacts(
                d.name,
                d.source,
                _short(report_pb2.SourceKind.DESCRIPTOR, d.kind, "SOURCE_KIND_"),
                d.resolution_uj,
                d.period_us,
                d.accuracy_ppm,
            )
            for d in layout.domains
        ],
        sources=[
            SourceFacts(name, _short(report_pb2.SourceState.DESCRIPTOR, state, "SOURCE_STATE_"), reason, fix)
            for name, (state, reason, fix) in sorted(row.sources.items())
        ],
        jobs=jobs_of(layout),
    )


@cache
def _short(enum: EnumDescriptor, number: int, prefix: str) -> str:
    """Return an enum's name without its prefix; a newer agent's may not be known here."""
    found = enum.values_by_number.get(number)
    return found.name.removeprefix(prefix).lower() if found else "unspecified"
