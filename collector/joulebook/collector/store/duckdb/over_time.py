"""The embedded store's question for energy by account and step.

What was booked for an interval is spread evenly over its time: up to a moment it is rounded down to whole
µJ, so what lies between moments adds up to the whole, wherever they are. Cells of time hold the same, spread
when it was rolled up; where steps are whole cells, these answer, and rows only for the ends of the range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from joulebook.collector.store.duckdb.ledger_sums import ENERGIES, ENERGY_UJ
from joulebook.collector.store.duckdb.rolls import CELL_US, HOUR_US, LONG_US, MINUTE_US, NODE_CELL_US
from joulebook.collector.store.ladder import Piece, pieces

_GAP_UJ = "(" + " + ".join(f"{name}::HUGEINT" for name in ENERGIES[: len(ENERGIES) // 2]) + ")"
_ROW = "end_unix_us - duration_us AS began, end_unix_us AS ended"


def over_time(
    from_us: int, to_us: int, step_us: int, origin_us: int, node_id: int | None, marks: tuple[int, int] | None
) -> str:
    """Return SQL for (account, step, µJ); steps count from origin_us.

    marks say what is rolled up, by minute and by hour; None: all rows are read.
    """
    minute_id, hour_id = marks or (0, 0)
    of_node = "" if node_id is None else f" AND node_id = {node_id}"
    # Rows below it are in cells.
    mark = minute_id if node_id is None else hour_id
    widths = (HOUR_US, MINUTE_US, CELL_US) if node_id is None else (HOUR_US, NODE_CELL_US)
    fitting = [] if marks is None else [w for w in widths if step_us % w == 0 and origin_us % w == 0]
    steps = _Steps(origin_us, step_us)
    parts: list[str] = []
    for piece in pieces(from_us, to_us, fitting):
        parts += _rolled(piece, steps, mark, hour_id, of_node)
    # Late rows may be of any time.
    rest = f"FROM ledger WHERE interval_id >= {mark} AND duration_us <= {LONG_US}"
    parts += steps.spread(f"SELECT account_id, {ENERGY_UJ} AS uj, {_ROW} {rest}{of_node}", from_us, to_us)
    long = f"SELECT account_id, energy_uj AS uj, {_ROW} FROM long_ledger WHERE true{of_node}"
    parts += steps.spread(long, from_us, to_us)
    unattributed = "(SELECT account_id FROM accounts WHERE account = 'unattributed')"
    gaps = f"SELECT {unattributed} AS account_id, {_GAP_UJ} AS uj, {_ROW} FROM gap_ledger WHERE true{of_node}"
    parts += steps.spread(gaps, from_us, to_us)
    return f"""
        SELECT account, step::BIGINT, sum(uj)::HUGEINT AS uj FROM ({" UNION ALL ".join(parts)})
        JOIN accounts USING (account_id) GROUP BY account, step HAVING sum(uj) > 0"""


class _Steps:
    """Steps of a length, counted from a moment."""

    def __init__(self, origin_us: int, step_us: int) -> None:
        self._origin_us, self._step_us = origin_us, step_us

    def spread(self, rows: str, from_us: int, to_us: int) -> Iterator[str]:
        """Give SQL that spreads rows (account_id, uj, began, ended) over the steps within a range."""
        o, s = self._origin_us, self._step_us
        booked = f"""
            (SELECT *, (greatest(began, {from_us}) - {o}) // {s} AS first_step,
                (least(ended, {to_us}) - 1 - {o}) // {s} AS last_step
             FROM ({rows}) WHERE ended > {from_us} AND began < {to_us} AND uj > 0)"""
        whole = f"first_step = last_step AND began >= {from_us} AND ended <= {to_us}"
        # Most lie within one step.
        yield f"SELECT account_id, last_step AS step, sum(uj) AS uj FROM {booked} WHERE {whole} GROUP BY ALL"
        yield f"""
            SELECT account_id, step, sum(
                uj * (least({o} + (step + 1) * {s}, {to_us}, ended) - began) // (ended - began)
                - uj * (greatest({o} + step * {s}, {from_us}, began) - began) // (ended - began)) AS uj
            FROM (SELECT *, unnest(range(first_step, last_step + 1)) AS step FROM {booked}
                  WHERE NOT ({whole})) GROUP BY ALL"""

    def of_cells(self, table: str, piece: Piece, condition: str) -> str:
        """Return SQL that adds cells up which lie within a piece."""
        step = f"(cell_us - {self._origin_us}) // {self._step_us}"
        return f"""
            SELECT account_id, {step} AS step, sum(energy_uj) AS uj FROM {table}
            WHERE cell_us >= {piece.from_us} AND cell_us < {piece.to_us}{condition} GROUP BY ALL"""


def _rolled(piece: Piece, steps: _Steps, mark: int, hour_id: int, of_node: str) -> Sequence[str]:
    """Return SQL for what rows below the mark give to a piece."""
    if not piece.width_us:
        # What reaches in ended within it, or no longer after than what is not long can last.
        rows = f"""
            SELECT account_id, {ENERGY_UJ} AS uj, {_ROW} FROM ledger
            WHERE interval_id < {mark} AND duration_us <= {LONG_US} AND end_unix_us > {piece.from_us}
                AND end_unix_us < {piece.to_us + LONG_US}{of_node}"""
        return list(steps.spread(rows, piece.from_us, piece.to_us))
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
