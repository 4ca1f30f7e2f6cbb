"""Reports as they were booked: their raw readings, and the rows that the ledger made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.stack import Readings
from joulebook.collector.store.duckdb.blocks import Strip
from joulebook.collector.store.duckdb.packed import unpack
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.duckdb.rows import EVER

Ints = npt.NDArray[np.int64]

AMOUNTS = (
    *(f"{name}_active_uj" for name in CLASSES),
    *(f"{name}_idle_uj" for name in CLASSES),
    "modelled_uj",
    "systematic_uj",
    "variance_uj2",
)


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A Report of the store. readings is None where they are not whole."""

    interval_id: int
    node: str
    boot: bytes
    start_us: int
    end_unix_us: int
    unread_us: int
    raised_uj: int
    readings: Readings | None


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Ledger rows, by interval and account: amounts is (rows, AMOUNTS)."""

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


def reports(view: Reads, at_once: int = 512) -> Iterator[list[StoredReport]]:
    """Give every Report whose readings are kept, a number of them at a time."""
    names = {
        number: (node, bytes(boot))
        for number, node, boot in view._rows(
            "SELECT boot_id, node, boot FROM boots JOIN nodes USING (node_id)"
        )
    }
    for block in view._blocks(EVER):
        for strip in view._strips([block], "true"):
            yield [_settled(view, strip, i, names[strip.boot_id]) for i in range(len(strip.start_us))]
    yield from _fresh(view, at_once)


def _settled(view: Reads, strip: Strip, place: int, name: tuple[str, bytes]) -> StoredReport:
    begin = int(strip.beside.ticks[:place].sum())
    lengths = strip.beside.interval_us[begin : begin + int(strip.beside.ticks[place])]
    layout, values = view._layout(strip.layout_id), strip.beside.values(place)
    whole = len(values) == len(layout.is_counter)
    return StoredReport(
        interval_id=int(strip.interval_id[place]),
        node=name[0],
        boot=name[1],
        start_us=int(strip.start_us[place]),
        end_unix_us=int(strip.end_unix_us[place]),
        unread_us=int(strip.unread_us[place]),
        raised_uj=int(strip.raised_uj[place]),
        readings=Readings(layout, lengths, values) if whole else None,
    )


def _fresh(view: Reads, at_once: int) -> Iterator[list[StoredReport]]:
    after = -1
    while True:
        rows = view._rows(
            """
            SELECT interval_id, node, boot, layout_id, start_us, end_unix_us, unread_us, raised_uj, report
            FROM intervals JOIN nodes USING (node_id) JOIN boots USING (boot_id)
            WHERE NOT is_gap AND interval_id > $1 ORDER BY interval_id LIMIT $2
            """,
            [after, at_once],
        )
        if not rows:
            return
        found = []
        for interval, node, boot, layout_id, start_us, end_unix_us, unread, raised, report in rows:
            readings = _readings(view._layout(layout_id), report)
            known = (start_us, end_unix_us, unread, raised)
            found.append(StoredReport(interval, node, bytes(boot), *known, readings))
        yield found
        after = rows[-1][0]


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


def rows(view: Reads, first: int, last: int) -> StoredRows:
    """Return the ledger's rows of the Reports from one to another; none of gaps."""
    table = view._table(
        f"""
        SELECT interval_id, account, {", ".join(AMOUNTS)} FROM ledger
        JOIN accounts USING (account_id) ANTI JOIN (SELECT interval_id FROM intervals WHERE is_gap)
            USING (interval_id)
        WHERE interval_id >= ? AND interval_id <= ? ORDER BY interval_id, account
        """,
        [first, last],
    )
    amounts = np.zeros((table.num_rows, len(AMOUNTS)), dtype=np.int64)
    for i, name in enumerate(AMOUNTS):
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
