"""The embedded store's question for energy by account and step.

What was booked for an interval is spread evenly over its time: up to a moment it is rounded down to whole
µJ, so what lies between moments adds up to the whole, wherever they are. Cells of time hold the same, spread
when it was rolled up; where steps are whole cells, these answer, and rows only for the ends of the range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from joulebook.collector.store.duckdb.ledger_sums import ENERGY_UJ, GAP_UJ
from joulebook.collector.store.duckdb.rolls import CELL_US, HOUR_US, LONG_US, MINUTE_US, NODE_CELL_US
from joulebook.collector.store.kept import BooksKept
from joulebook.collector.store.ladder import Piece, kept, pieces

_ROW = "end_unix_us - duration_us AS began, end_unix_us AS ended"


@dataclass(frozen=True, slots=True)
class Ready:
    """What is rolled up by minute and by hour, and from when on the narrowest cells are kept."""

    minute_id: int
    hour_id: int
    narrow_us: int


def over_time(
    from_us: int,
    to_us: int,
    step_us: int,
    origin_us: int,
    node_id: int | None,
    ready: Ready | None,
    books: BooksKept,
) -> str:
    """Return SQL for (account_id, step, uj); steps count from origin_us. ready None: all rows are read.

    Raises StoreError where what the steps need is forgotten.
    """
    minute_id, hour_id = (ready.minute_id, ready.hour_id) if ready else (0, 0)
    of_node = "" if node_id is None else f" AND node_id = {node_id}"
    # Rows below it are in cells.
    mark = minute_id if node_id is None else hour_id
    widths = (HOUR_US, MINUTE_US, CELL_US) if node_id is None else (HOUR_US, NODE_CELL_US)
    fitting = [] if ready is None else [w for w in widths if step_us % w == 0 and origin_us % w == 0]
    steps = _Steps(origin_us, step_us)
    cells: list[str] = []
    # Rows to be spread, each source with the stretch of time that is asked of it.
    whole = f"{from_us} AS since, {to_us} AS until"
    long = f"SELECT account_id, energy_uj AS uj, {_ROW}, {whole} FROM long_ledger WHERE true{of_node}"
    unattributed = "(SELECT account_id FROM accounts WHERE account = 'unattributed')"
    rows = [
        # Late ones may be of any time.
        f"SELECT account_id, {ENERGY_UJ} AS uj, {_ROW}, {whole} FROM ledger "
        f"WHERE interval_id >= {mark} AND duration_us <= {LONG_US}{of_node}",
        long,
        f"SELECT {unattributed} AS account_id, {GAP_UJ} AS uj, {_ROW}, {whole} "
        f"FROM gap_ledger WHERE true{of_node}",
    ]
    since_us = {MINUTE_US: books.minutes_us, NODE_CELL_US: books.minutes_us}
    if ready is not None:
        since_us[CELL_US] = ready.narrow_us
    for piece in kept(pieces(from_us, to_us, fitting), since_us, books.rows_us):
        if piece.width_us:
            cells += _rolled(piece, steps, hour_id, of_node)
        else:
            # What reaches in ended within it, or no longer after than what is not long can last.
            rows.append(
                f"SELECT account_id, {ENERGY_UJ} AS uj, {_ROW}, {piece.from_us} AS since, "
                f"{piece.to_us} AS until FROM ledger WHERE interval_id < {mark} AND duration_us <= {LONG_US} "
                f"AND end_unix_us > {piece.from_us} AND end_unix_us < {piece.to_us + LONG_US}{of_node}"
            )
    return f"""
        WITH booked AS MATERIALIZED ({steps.placed(rows)})
        SELECT account_id, step::BIGINT AS step, sum(uj)::HUGEINT AS uj FROM (
            {" UNION ALL ".join([*cells, *steps.spread("booked")])})
        GROUP BY ALL HAVING sum(uj) > 0"""


class _Steps:
    """Steps of a length, counted from a moment."""

    def __init__(self, origin_us: int, step_us: int) -> None:
        self._origin_us, self._step_us = origin_us, step_us

    def placed(self, rows: Sequence[str]) -> str:
        """Return SQL for rows (account_id, uj, began, ended, since, until) and the steps that they reach."""
        o, s = self._origin_us, self._step_us
        return f"""
            SELECT *, (greatest(began, since) - {o}) // {s} AS first_step,
                (least(ended, until) - 1 - {o}) // {s} AS last_step
            FROM ({" UNION ALL ".join(rows)}) WHERE ended > since AND began < until AND uj > 0"""

    def spread(self, placed: str) -> Iterator[str]:
        """Give SQL that spreads placed rows over the steps, each within the stretch that is asked of it."""
        o, s = self._origin_us, self._step_us
        whole = "first_step = last_step AND began >= since AND ended <= until"
        # Most lie within one step.
        yield f"SELECT account_id, last_step AS step, sum(uj) AS uj FROM {placed} WHERE {whole} GROUP BY ALL"
        yield f"""
            SELECT account_id, step, sum(
                uj * (least({o} + (step + 1) * {s}, until, ended) - began) // (ended - began)
                - uj * (greatest({o} + step * {s}, since, began) - began) // (ended - began)) AS uj
            FROM (SELECT *, unnest(range(first_step, last_step + 1)) AS step FROM {placed}
                  WHERE NOT ({whole})) GROUP BY ALL"""

    def of_cells(self, table: str, piece: Piece, condition: str) -> str:
        """Return SQL that adds cells up which lie within a piece."""
        step = f"(cell_us - {self._origin_us}) // {self._step_us}"
        return f"""
            SELECT account_id, {step} AS step, sum(energy_uj) AS uj FROM {table}
            WHERE cell_us >= {piece.from_us} AND cell_us < {piece.to_us}{condition} GROUP BY ALL"""


def _rolled(piece: Piece, steps: _Steps, hour_id: int, of_node: str) -> Sequence[str]:
    """Return SQL for what cells give to a piece."""
    if of_node:
        table = "node_cell_hours" if piece.width_us == HOUR_US else "node_cells"
        return [steps.of_cells(table, piece, of_node)]
    if piece.width_us == CELL_US:
        return [steps.of_cells("fleet_cells", piece, "")]
    table = "fleet_cell_hours" if piece.width_us == HOUR_US else "fleet_cell_minutes"
    # What is not rolled up by hour yet is in the narrow cells alone.
    return [
        steps.of_cells(table, piece, ""),
        steps.of_cells("fleet_cells", piece, f" AND from_id >= {hour_id}"),
    ]
