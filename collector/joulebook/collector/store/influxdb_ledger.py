"""The ledger's rows in InfluxDB: how they are written, and how they are added up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from joulebook.collector.facts.mark import Mark
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.domains import CLASSES, TIERS
from joulebook.collector.ledger.figures import ENERGIES, FIGURES, table_of
from joulebook.collector.store.influxdb_http import Series
from joulebook.collector.store.influxdb_lines import line, tag, untag
from joulebook.collector.store.rows import AccountRow
from joulebook.collector.store.window import GapBetween

SUMS = [*FIGURES, "duration_us"]
# The whole, and what of it is idle floor: in every row, so that dashboards can take one from the other.
DASHBOARD = ["energy_uj", "idle_uj"]
UNATTRIBUTED = "unattributed"
# A gap's row has this tag; it is at the gap's end.
GAP = "1"
SUMMED = ", ".join(f'sum("{name}") AS "{name}"' for name in SUMS) + (
    ', min("start_unix_us") AS "start_unix_us", max("end_unix_us") AS "end_unix_us"'
)
EACH = ", ".join(f'"{name}"' for name in (*SUMS, "start_unix_us", "end_unix_us"))


def ledger_lines(reports: Sequence[Decoded], books: Books, clocks: Sequence[str]) -> Iterator[bytes]:
    """Return the rows' points, what is 0 left out: a sum takes no notice of it.

    energy_uj, the whole, idle_uj, what of it is idle floor, and the tag user are for others to read; our
    own sums are over the classes.
    """
    if not books.account:
        return
    end = np.array([d.end_us + d.realtime_offset_us for d in reports], dtype=np.int64)[books.report]
    length = np.array([d.end_us - d.start_us for d in reports], dtype=np.int64)[books.report]
    idle = books.idle_uj.sum(axis=1)
    always = np.stack([length, end - length, end, books.active_uj.sum(axis=1) + idle, idle, end], axis=1)
    table = np.hstack([table_of(books), always])
    kept = table != 0
    kept[:, -always.shape[1] :] = True
    # So that dashboards tell nothing modelled, which is 0, from nothing known.
    kept[:, SUMS.index("modelled_uj")] = True
    names = np.array([f"{name}=%di" for name in [*SUMS, "start_unix_us", "end_unix_us", *DASHBOARD]])
    bodies: dict[bytes, str] = {}
    heads = [f",node={tag(d.node)}" for d in reports]
    accounts = {a: tag(a) for a in set(books.account)}
    users = [d.readings.layout.users for d in reports]
    tags = {name: f",user={tag(name)}" for name in {user for own in users for user in own.values()}}
    lines = []
    for row, (report, account) in enumerate(zip(books.report.tolist(), books.account, strict=True)):
        pattern = kept[row].tobytes()
        if (body := bodies.get(pattern)) is None:
            body = bodies[pattern] = ",".join(names[kept[row, :-1]].tolist()) + " %d\n"
        clock = f",clock={clocks[report]}" if clocks[report] else ""
        user = tags.get(users[report].get(account, ""), "")
        head = f"ledger,account={accounts[account]}{clock}{heads[report]}{user} "
        lines.append(head.replace("%", "%%") + body)
    # A thousand rows at a time: pieces that fit a request.
    starts = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    values = table[kept].tolist()
    for begin in range(0, len(lines), 1000):
        end_row = min(begin + 1000, len(lines))
        part = tuple(values[starts[begin] : starts[end_row]])
        yield ("".join(lines[begin:end_row]) % part).encode()


def gap_line(
    node: str, boot: bytes, start_us: int, end_us: int, by_class_uj: Sequence[int], end_unix_us: int
) -> bytes:
    """Return a gap's row. Nothing is left out, so that a later row at the same place replaces all of it."""
    fields: dict[str, int | str] = {"boot": boot.hex(), "gap_start_us": start_us, "gap_end_us": end_us}
    fields |= {f"{name}_active_uj": uj for name, uj in zip(CLASSES, by_class_uj, strict=True)}
    fields["energy_uj"] = sum(by_class_uj)
    fields["idle_uj"] = 0
    return line("ledger", {"account": UNATTRIBUTED, "gap": GAP, "node": node}, fields, end_unix_us)


Key = tuple[str, str]


class Sums:
    """Rows of the ledger added up by account and node."""

    def __init__(self) -> None:
        self._rows: dict[Key, dict[str, int]] = defaultdict(lambda: dict.fromkeys(SUMS, 0))

    def _add(self, key: Key, row: dict[str, Any]) -> None:
        sums = self._rows[key]
        for name in SUMS:
            sums[name] += row.get(name) or 0
        first, last = row["start_unix_us"], row["end_unix_us"]
        sums["start_unix_us"] = min(sums.get("start_unix_us", first), first)
        sums["end_unix_us"] = max(sums.get("end_unix_us", last), last)

    def add_summed(self, found: Sequence[Series], but: set[str]) -> None:
        """Add what the server summed up, of all nodes but some."""
        for series in found:
            node, account = untag(series.tags["node"]), untag(series.tags["account"])
            if node not in but:
                for row in series.rows():
                    self._add((account, node), row)

    def add_marked(self, found: Sequence[Series], marks: Sequence[Mark]) -> None:
        """Add single rows that a mark vouches for."""
        known = {(m.node, m.clock, m.end_unix_us) for m in marks}
        for series in found:
            node, account = untag(series.tags["node"]), untag(series.tags["account"])
            clock = series.tags.get("clock", "")
            for row in series.rows():
                if (node, clock, row["time"]) in known:
                    self._add((account, node), row)

    def add_more(self, account: str, node: str, row: dict[str, Any]) -> None:
        """Add what an account received more when it was settled."""
        self._add((account, node), row)

    def add_gap(self, gap: GapBetween, booked_uj: Sequence[int]) -> None:
        """Add what passed in a gap."""
        if any(booked_uj):
            length_us = gap.gap.end_us - gap.gap.start_us
            row = {f"{name}_active_uj": uj for name, uj in zip(CLASSES, booked_uj, strict=True)}
            row |= {"duration_us": length_us, "end_unix_us": gap.end_unix_us}
            self._add((UNATTRIBUTED, gap.node), row | {"start_unix_us": gap.end_unix_us - length_us})

    def rows(self) -> list[AccountRow]:
        """Return the sums by account and node."""
        n, tiers = len(CLASSES), len(ENERGIES) + len(TIERS)
        rows = []
        for (account, node), sums in sorted(self._rows.items()):
            all_ = tuple(sums[name] for name in (*SUMS, "start_unix_us", "end_unix_us"))
            by_class = all_[:n], all_[n : 2 * n]
            rows.append(AccountRow(account, node, *by_class, all_[2 * n : tiers], *all_[tiers:]))
        return rows
