"""The check of the books: what the meters delivered, read off the raw readings alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from joulebook.collector.ledger.gaps import Edge, gap_between
from joulebook.collector.ledger.measured import drawn_uj
from joulebook.collector.queries.known import HOUR_US, known_part
from joulebook.collector.store.protocol import Measured, Range, RawEnergy, Store, StoreView


def measured_uj(readings: Iterable[RawEnergy], gaps: Iterable[tuple[Edge, Edge]]) -> dict[str, int]:
    """Return each node's energy of Reports and of gaps between them. The ledger's rows have no part in it."""
    measured: dict[str, int] = defaultdict(int)
    for raw in readings:
        measured[raw.layout.node] += _all_uj(raw)
    for before, after in gaps:
        if (gap := gap_between(before, after)) is not None:
            measured[after.layout.node] += int(gap.by_class_uj.sum())
    return measured


def _all_uj(raw: RawEnergy) -> int:
    domains = raw.energy_uj.shape[1]
    return int(drawn_uj(raw.layout, raw.energy_uj.transpose(1, 0, 2).reshape(domains, -1)).sum())


def measured_in(view: StoreView, selected: Range) -> Measured:
    """Return each node's energy in a range, as the store adds it up or else from raw readings."""
    added = view.measured(selected)
    if added is not None:
        return added
    return Measured(measured_uj(view.raw_energy(selected), view.raw_gaps(selected)))


def booked_uj(view: StoreView, ranges: Iterable[Range]) -> dict[str, int]:
    """Return what the accounts of each node received in some ranges."""
    booked: dict[str, int] = defaultdict(int)
    for one in ranges:
        for node, uj in view.booked_uj(one).items():
            booked[node] += uj
    return booked


def residuals_uj(store: Store, selected: Range) -> dict[str, int]:
    """Return by how much each node's accounts miss what its meters delivered; only where it is not 0.

    What was booked while nothing is known of the meters any more is left out, and so are parts of hours of
    which only the hour's books are kept.
    """
    # One state for both sides: a commit between two reads would look like broken books.
    with store.snapshot() as frozen:
        known = known_part(frozen.books_kept(), selected.from_us, selected.to_us, HOUR_US)
        selected = replace(selected, from_us=known.from_us, to_us=known.to_us)
        measured = measured_in(frozen, selected)
        booked = booked_uj(frozen, [selected])
        unchecked = booked_uj(frozen, measured.forgotten)
    return {
        node: uj
        for node in sorted({*measured.by_node, *booked})
        if (uj := measured.by_node.get(node, 0) + unchecked.get(node, 0) - booked.get(node, 0))
    }
