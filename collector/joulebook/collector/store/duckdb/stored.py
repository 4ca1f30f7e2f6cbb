"""Reports as they were booked: their raw readings, and the rows that the ledger made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.figures import FIGURES
from joulebook.collector.ledger.holes import Start
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.stack import Readings
from joulebook.collector.store.duckdb.blocks import Strip
from joulebook.collector.store.duckdb.files import HOUR_US, REPORTS
from joulebook.collector.store.duckdb.packed import unpack
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.duckdb.rows import EVER

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A Report of the store. readings is None where they are not whole.

    rebooked: it is booked with all that its node's Reports of the hour tell together.
    """

    interval_id: int
    node_id: int
    node: str
    boot: bytes
    start_us: int
    end_unix_us: int
    unread_us: int
    raised_uj: int
    readings: Readings | None
    rebooked: bool

    @property
    def start(self) -> Start:
        """Return when it began."""
        return Start(self.boot, self.start_us)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Ledger rows, by interval and account: amounts is (rows, FIGURES)."""

    interval_id: Ints
    account: list[str]
    amounts: Ints


@dataclass(frozen=True, slots=True)
class StoredGap:
    """A gap of the store, and what `unattributed` received in it by class."""

    start_us: int
    end_us: int
    end_unix_us: int
    raised_uj: int
    missing_ppm: int
    by_class_uj: tuple[int, ...]


def in_order(reports: Iterable[StoredReport]) -> list[StoredReport]:
    """Return Reports in the order in which they are booked together: by the wall clock."""
    return sorted(reports, key=lambda one: (one.end_unix_us, one.boot, one.start_us))


def hours(view: Reads) -> dict[int, dict[int, int]]:
    """Return how many Reports of which nodes ended in which hour, of those whose readings are kept."""
    found: dict[int, dict[int, int]] = {}
    for hour, node, count in view._rows(
        f"""
        SELECT (end_unix_us - 1) // {HOUR_US} AS hour, node_id, count(*)
        FROM {view._marks(EVER, "end_unix_us, node_id, is_gap")} WHERE NOT is_gap GROUP BY ALL ORDER BY ALL
        """
    ):
        found.setdefault(hour, {})[node] = count
    return found


def rebooked_nodes(view: Reads, hour: int) -> list[int]:
    """Return the nodes of which Reports of an hour are booked anew."""
    blocks = view._rows("SELECT block_id, hour, rebooked FROM blocks WHERE has_raw AND hour = $1", [hour])
    parts = [
        f"""
        SELECT node_id FROM {view._parquet(REPORTS, [(block, hour)])} WHERE {rebooked} OR node_id IN (
            SELECT node_id FROM rebooked_nodes WHERE block_id = {block})"""
        for block, hour, rebooked in blocks
    ]
    parts.append(
        f"""
        SELECT node_id FROM intervals SEMI JOIN rebooked_alone USING (interval_id)
        WHERE end_unix_us > {hour * HOUR_US} AND end_unix_us <= {(hour + 1) * HOUR_US}"""
    )
    rows = view._rows(f"SELECT DISTINCT node_id FROM ({' UNION ALL '.join(parts)}) ORDER BY ALL")
    return [node for (node,) in rows]


def reports_of_hour(view: Reads, hour: int, nodes: Sequence[int]) -> Iterator[StoredReport]:
    """Give the Reports of some nodes that ended in an hour, wherever they are kept, in no order."""
    names = {
        number: (node, bytes(boot))
        for number, node, boot in view._rows(
            "SELECT boot_id, node, boot FROM boots JOIN nodes USING (node_id) "
            "WHERE list_contains($1::INTEGER[], node_id)",
            [list(nodes)],
        )
    }
    blocks = view._rows("SELECT block_id, hour, rebooked FROM blocks WHERE has_raw AND hour = $1", [hour])
    whole = {block for block, _, rebooked in blocks if rebooked}
    parts = set(view._rows("SELECT block_id, node_id FROM rebooked_nodes"))
    alone = {number for (number,) in view._rows("SELECT interval_id FROM rebooked_alone")}
    listed = ", ".join(map(str, nodes))
    for block, _, _ in blocks:
        for strip in view._strips([(block, hour)], f"node_id IN ({listed})"):
            known = block in whole or (block, strip.node_id) in parts
            yield from _settled(view, strip, names, alone, known)
    for interval_id, node_id, boot_id, layout_id, start_us, end_unix_us, unread, raised, report in view._rows(
        f"""
        SELECT interval_id, node_id, boot_id, layout_id, start_us, end_unix_us, unread_us, raised_uj, report
        FROM intervals WHERE NOT is_gap AND node_id IN ({listed}) AND end_unix_us > $1 AND end_unix_us <= $2
        """,
        [hour * HOUR_US, (hour + 1) * HOUR_US],
    ):
        readings = _readings(view._layout(layout_id), report)
        node, boot = names[boot_id]
        told = (start_us, end_unix_us, unread, raised)
        yield StoredReport(interval_id, node_id, node, boot, *told, readings, interval_id in alone)


def _settled(
    view: Reads, strip: Strip, names: Mapping[int, tuple[str, bytes]], alone: Collection[int], known: bool
) -> Iterator[StoredReport]:
    layout = view._layout(strip.layout_id)
    lengths = np.split(strip.beside.interval_us, np.cumsum(strip.beside.ticks)[:-1])
    columns = (strip.interval_id, strip.start_us, strip.end_unix_us, strip.unread_us, strip.raised_uj)
    node, boot = names[strip.boot_id]
    for own, values, interval_id, start_us, end_unix_us, unread, raised in zip(
        lengths, strip.beside.values(), *(column.tolist() for column in columns), strict=True
    ):
        readings = Readings(layout, own, values) if len(values) == len(layout.is_counter) else None
        told = (start_us, end_unix_us, unread, raised)
        booked = known or interval_id in alone
        yield StoredReport(interval_id, strip.node_id, node, boot, *told, readings, booked)


def _readings(layout: NodeLayout, report: bytes | None) -> Readings | None:
    """Return what a Report says; None where it is not whole."""
    try:
        lengths, values = unpack(report or b"")
    except (DecodeError, ValueError):
        return None
    return (
        Readings(layout, lengths, values)
        if values.shape == (len(layout.is_counter), len(lengths) + 1)
        else None
    )


def rows(view: Reads, first: int, last: int, nodes: Sequence[int]) -> StoredRows:
    """Return the ledger's rows of some nodes' Reports from one to another."""
    table = view._table(
        f"""
        SELECT interval_id, account, {", ".join(FIGURES)} FROM ledger
        JOIN accounts USING (account_id)
        WHERE interval_id >= ? AND interval_id <= ? AND list_contains(?::INTEGER[], node_id)
        ORDER BY interval_id, account
        """,
        [first, last, list(nodes)],
    )
    amounts = np.zeros((table.num_rows, len(FIGURES)), dtype=np.int64)
    for i, name in enumerate(FIGURES):
        amounts[:, i] = table[name].to_numpy()
    return StoredRows(table["interval_id"].to_numpy(), table["account"].to_pylist(), amounts)


def boots(view: Reads) -> list[tuple[str, bytes, int, int]]:
    """Return every boot, and where on its clock its Reports begin and end."""
    return [
        (node, bytes(boot), start_us, end_us)
        for node, boot, start_us, end_us in view._rows(
            f"""
            SELECT node, boot, min(start_us), max(end_us)
            FROM {view._marks(EVER, "node_id, boot_id, start_us, end_us, is_gap")}
            JOIN nodes USING (node_id) JOIN boots USING (boot_id) WHERE NOT is_gap GROUP BY ALL ORDER BY ALL
            """
        )
    ]


def gaps(view: Reads, node: str, boot: bytes) -> list[StoredGap]:
    """Return the gaps of a boot."""
    found = view._rows(
        f"""
        SELECT start_us, end_us, i.end_unix_us, i.raised_uj, missing_ppm,
               [{", ".join(f"coalesce(sum({name}_active_uj), 0)::BIGINT" for name in CLASSES)}]
        FROM intervals AS i JOIN nodes AS n USING (node_id) JOIN boots USING (boot_id)
        LEFT JOIN gap_ledger AS l USING (interval_id)
        WHERE is_gap AND node = ? AND boot = ?
        GROUP BY interval_id, start_us, end_us, i.end_unix_us, i.raised_uj, missing_ppm ORDER BY start_us
        """,
        [node, boot],
    )
    return [StoredGap(a, b, at, raised, ppm, tuple(uj)) for a, b, at, raised, ppm, uj in found]
