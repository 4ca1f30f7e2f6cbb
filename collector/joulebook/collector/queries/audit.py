"""The check of the books: what the meters delivered, read off the raw readings alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from joulebook.collector.ledger.gaps import Edge, gap_between
from joulebook.collector.ledger.measured import drawn_uj
from joulebook.collector.store.protocol import Range, RawEnergy, Store


def measured_uj(readings: Iterable[RawEnergy], gaps: Iterable[tuple[Edge, Edge]]) -> dict[str, int]:
    """Return each node's energy of Reports and of gaps between them. The ledger's rows have no part in it."""
    measured: dict[str, int] = defaultdict(int)
    for raw in readings:
        measured[raw.layout.node] += int(drawn_uj(raw.layout, raw.energy_uj).sum())
    for before, after in gaps:
        if (gap := gap_between(before, after)) is not None:
            measured[after.layout.node] += int(gap.by_class_uj.sum())
    return measured


def residuals_uj(store: Store, selected: Range) -> dict[str, int]:
    """Return by how much each node's accounts miss what its raw readings say; only where it is not 0."""
    # One state for both sides: a commit between two reads would look like broken books.
    with store.snapshot() as frozen:
        residual = measured_uj(frozen.raw_energy(selected), frozen.raw_gaps(selected))
        rows = frozen.accounts(selected)
    for row in rows:
        residual[row.node] = residual.get(row.node, 0) - sum(row.active_uj) - sum(row.idle_uj)
    return {node: uj for node, uj in residual.items() if uj}
