"""The embedded store's questions for energy by account and step.

What was booked for an interval is spread evenly over its time: up to a moment it is rounded down to whole
µJ, so what lies between moments adds up to the whole, wherever they are. Cells of time hold the same, spread
when it was rolled up; where steps are whole cells, these answer, and rows only for the ends of the range.

Each question is plain, and what they find is put together beside the database: to plan one for all of it took
longer than to answer it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from joulebook.collector.ledger.figures import ENERGIES
from joulebook.collector.store.duckdb.hugeint import added, whole
from joulebook.collector.store.duckdb.ledger_sums import GAP_UJ
from joulebook.collector.store.duckdb.rolls import CELL_US, HOUR_US, LONG_US, MINUTE_US, NODE_CELL_US
from joulebook.collector.store.duckdb.spreading import Booked, Steps, Stretch
from joulebook.collector.store.kept import BooksKept
from joulebook.collector.store.ladder import Piece, kept, pieces


@dataclass(frozen=True, slots=True)
class Ready:
    """What is rolled up by minute and by hour, and from when on the narrowest cells are kept."""

    minute_id: int
    hour_id: int
    narrow_us: int


@dataclass(frozen=True, slots=True)
class Asked:
    """SQL for cells (account_id, step, uj), '' for none; and for rows, each a part of one of the stretches.

    Rows are (account_id, began, ended, stretch, and columns that are its µJ together).
    """

    cells: str
    rows: Sequence[str]
    stretches: Sequence[Stretch]

    def booked(self, found: pa.Table) -> Booked:
        """Return some of the rows that were found."""
        account_id, began_us, ended_us, which, *amounts = (whole(column) for column in found.columns)
        from_us, to_us = np.array(self.stretches, dtype=np.int64).T
        return Booked(account_id, added(amounts), began_us, ended_us, from_us[which], to_us[which])


def over_time(
    from_us: int,
    to_us: int,
    steps: Steps,
    node_id: int | None,
    ready: Ready | None,
    books: BooksKept,
    unattributed: int | None,
) -> Asked:
    """Return what to ask for the steps of (from_us, to_us]. ready None: all rows are read.

    unattributed is the number of the account that gaps are booked to, None where there is none yet. Raises
    StoreError where what the steps need is forgotten.
    """
    minute_id, hour_id = (ready.minute_id, ready.hour_id) if ready else (0, 0)
    of_node = "" if node_id is None else f" AND node_id = {node_id}"
    # Rows below it are in cells.
    mark = minute_id if node_id is None else hour_id
    widths = (HOUR_US, MINUTE_US, CELL_US) if node_id is None else (HOUR_US, NODE_CELL_US)
    fitting = [] if ready is None else [w for w in widths if steps.us % w == 0 and steps.origin_us % w == 0]
    stretches = [Stretch(from_us, to_us)]
    within = f"{_touching(stretches[0])}{of_node}"
    cells: list[str] = []
    # Late ones may be of any time.
    booked = [_booked(f"interval_id >= {mark} AND {within}", 0)]
    since_us = {MINUTE_US: books.minutes_us, NODE_CELL_US: books.minutes_us}
    if ready is not None:
        since_us[CELL_US] = ready.narrow_us
    for piece in kept(pieces(from_us, to_us, fitting), since_us, books.rows_us):
        if piece.width_us:
            cells += _rolled(piece, steps, of_node)
        else:
            stretch = Stretch(piece.from_us, piece.to_us)
            # What reaches in ended within it, or no longer after than what is not long can last.
            ended = f"interval_id < {mark} AND end_unix_us < {piece.to_us + LONG_US}"
            booked.append(_booked(f"{ended} AND {_touching(stretch)}{of_node}", len(stretches)))
            stretches.append(stretch)
    others = [f"SELECT account_id, {_TIMES}, 0 AS stretch, energy_uj FROM long_ledger WHERE {within}"]
    if unattributed is not None:
        others.append(
            f"SELECT {unattributed} AS account_id, {_TIMES}, 0 AS stretch, {GAP_UJ} AS energy_uj "
            f"FROM gap_ledger WHERE {within}"
        )
    return Asked(
        " UNION ALL ".join(cells), [" UNION ALL ".join(booked), " UNION ALL ".join(others)], stretches
    )


_TIMES = "end_unix_us - duration_us AS began, end_unix_us AS ended"


def _touching(stretch: Stretch) -> str:
    return f"end_unix_us > {stretch.from_us} AND end_unix_us - duration_us < {stretch.to_us}"


def _booked(condition: str, stretch: int) -> str:
    """Return SQL for rows of the ledger; their classes are added up later, which costs less than here."""
    return (
        f"SELECT account_id, {_TIMES}, {stretch} AS stretch, {', '.join(ENERGIES)} FROM ledger "
        f"WHERE duration_us <= {LONG_US} AND {condition}"
    )


def _rolled(piece: Piece, steps: Steps, of_node: str) -> Iterator[str]:
    """Give SQL for what cells have of a piece."""
    if of_node:
        tables = ["node_cell_hours" if piece.width_us == HOUR_US else "node_cells"]
    elif piece.width_us == CELL_US:
        tables = ["fleet_cells"]
    else:
        # What is not rolled up by hour yet is in fresh cells alone.
        tables = [
            "fleet_cell_hours" if piece.width_us == HOUR_US else "fleet_cell_minutes",
            "fleet_cell_fresh",
        ]
    step = f"(cell_us - {steps.origin_us}) // {steps.us} AS step"
    within = f"cell_us >= {piece.from_us} AND cell_us < {piece.to_us}{of_node}"
    for table in tables:
        if steps.us == piece.width_us:
            yield f"SELECT account_id, {step}, energy_uj AS uj FROM {table} WHERE {within}"
        else:
            yield f"SELECT account_id, {step}, sum(energy_uj) AS uj FROM {table} WHERE {within} GROUP BY ALL"
