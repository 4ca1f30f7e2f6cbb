"""Brings simulated Reports to a ledger and a store, without the network."""

from collections.abc import Iterable, Sequence

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ingest.values import check
from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.store.protocol import Range, Store
from joulebook.v1 import report_pb2
from tests.simulated.node import WALL_US, SimulatedNode

EVER = Range(0, 1 << 62)
NOW_US = WALL_US + 10**13


def decoded(node: SimulatedNode, reports: Iterable[report_pb2.Report]) -> list[Decoded]:
    """Decode a node's Reports as the collector does."""
    layouts = {hash_: decode_layout(serialized) for hash_, serialized in node.layouts.items()}
    found = [decode_report(r, layouts[r.layout_hash], NOW_US, 0) for r in reports]
    for one in found:
        check(one.readings)
    return found


def deliver(store: Store, batches: Sequence[Sequence[Decoded]]) -> IngestStats:
    """Commit batches one after another, as one collector does; return what it counted."""
    stats = IngestStats()
    committer = Committer(store, stats)
    for batch in batches:
        committer.apply(list(batch))
    return stats


def books_of(store: Store) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the books by (node, account): energy by class and tier, and how sure it is."""
    return {
        (a.node, a.account): (
            *a.active_uj,
            *a.idle_uj,
            *a.tier_uj,
            a.modelled_uj,
            a.systematic_uj,
            a.variance_uj2,
        )
        for a in store.accounts(EVER)
    }


def energy_uj(store: Store, account: str, class_: str | None = None) -> int:
    """Return what an account received on all nodes, of one class where it is named."""
    places = range(len(CLASSES)) if class_ is None else [CLASSES.index(class_)]
    return sum(
        a.active_uj[i] + a.idle_uj[i] for a in store.accounts(EVER) if a.account == account for i in places
    )


def total_uj(store: Store) -> int:
    """Return what all accounts received together."""
    return sum(sum(a.active_uj) + sum(a.idle_uj) for a in store.accounts(EVER))
