"""What is asked of the embedded store's books: from what is rolled up, and from rows where nothing is yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from joulebook.collector.ledger.figures import ENERGIES
from joulebook.collector.store.duckdb.book_parts import (
    ENERGY,
    EVERYTHING,
    UNATTRIBUTED,
    Columns,
    Marks,
    Parts,
)
from joulebook.collector.store.duckdb.connected import among
from joulebook.collector.store.duckdb.hugeint import whole
from joulebook.collector.store.duckdb.ledger_sums import EACH, NAMES, NARROW, OF_SUMS, account_row, added
from joulebook.collector.store.duckdb.named_sums import accounts_of, steps_of
from joulebook.collector.store.duckdb.over_time import Ready, over_time
from joulebook.collector.store.duckdb.rolls import DAY_US
from joulebook.collector.store.duckdb.spreading import Stepped, Steps, places, spread, together
from joulebook.collector.store.duckdb.watch_reads import WatchReads
from joulebook.collector.store.kept import BooksKept
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.rows import AccountRow, Summed, TimeRow


class BookReads(WatchReads):
    """The books' part of the reading half."""

    # Whether what is added up answers; if not, all rows do.
    _added_up = True
    # No bucket that is wider does.
    _widest_us = DAY_US
    # Whether all questions see one state, in which marks stay where they are.
    _same_state = False
    _kept_marks: Marks | None = None
    _kept_books: BooksKept | None = None

    if TYPE_CHECKING:

        def _number(self, table: str, name: str) -> int | None: ...

        def _numbered(self, table: str, names: Collection[str]) -> dict[int, str]: ...

        def _rows(
            self, query: str, parameters: list[Any] | dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]: ...

        def _whole(self, query: str, parameters: list[Any]) -> list[tuple[int, ...]] | None: ...

        def _sums(self, query: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]: ...

        def _node_name(self, node_id: int) -> str: ...

        def _accounts_named(self, account_ids: Iterable[int]) -> dict[int, str]: ...

        def _table(self, query: str, parameters: list[Any]) -> pa.Table: ...

        def _batches(self, query: str) -> Iterator[pa.Table]: ...

    def _marks_of_sums(self) -> Marks:
        """Return up to which interval totals, minutes, hours and days are rolled up."""
        if self._kept_marks is not None:
            return self._kept_marks
        (row,) = self._rows("SELECT total_id, minute_id, hour_id, day_id FROM added_up")
        marks = Marks(*row)
        if self._same_state:
            self._kept_marks = marks
        return marks

    def _ready(self) -> Marks:
        """Return up to which interval sums are to answer."""
        return self._marks_of_sums() if self._added_up else Marks()

    def books_kept(self) -> BooksKept:
        """Return how fine the books are known of which time; what is asked finer raises StoreError."""
        if self._kept_books is not None:
            return self._kept_books
        (row,) = self._rows("SELECT rows_unix_us, minutes_unix_us FROM forgotten_books")
        books = BooksKept(*row)
        if self._same_state:
            self._kept_books = books
        return books

    def _all_rows(self) -> tuple[str, str]:
        """Return conditions on rows of the ledger, and on hours of nodes for rows that are forgotten.

        Together they have all that there ever was.
        """
        rows_us, hour_id = self.books_kept().rows_us, self._marks_of_sums().hour_id
        return f"(end_unix_us > {rows_us} OR interval_id >= {hour_id})", f"bucket_us <= {rows_us}"

    def accounts(self, selected: Range) -> list[AccountRow]:
        """Return what each account received on each node, from the ledger."""
        keys = ["account_id", "node_id"]
        parts = self._parts(selected, keys, EVERYTHING)
        rows = self._sums(_added_up(parts, keys)) if parts else []
        return [account_row(row[0], row[1], row[2:]) for row in rows]

    def booked_uj(self, selected: Range) -> dict[str, int]:
        """Return what all accounts of each node received together."""
        parts = self._parts(selected, ["node_id"], ENERGY)
        if not parts:
            return {}
        rows = self._rows(
            f"SELECT node_id, sum(energy_uj)::HUGEINT FROM ({' UNION ALL '.join(parts)}) GROUP BY node_id"
        )
        return {self._node_name(node_id): uj for node_id, uj in rows}

    def energies(self, selected: Range) -> list[tuple[str, str, int]]:
        """Return (account, node, µJ) of what each account received on each node."""
        parts = self._parts(selected, ["account_id", "node_id"], ENERGY)
        if not parts:
            return []
        rows = self._sums(
            "SELECT account_id, node_id, sum(energy_uj)::HUGEINT AS energy_uj "
            f"FROM ({' UNION ALL '.join(parts)}) GROUP BY ALL"
        )
        names = self._accounts_named(row[0] for row in rows)
        return sorted((names.get(a, ""), self._node_name(n), uj) for a, n, uj in rows)

    def all_booked_uj(self, selected: Range) -> int:
        """Return what all accounts of all nodes of a range received together."""
        parts = self._parts(selected, ["account_id"], ENERGY)
        if not parts:
            return 0
        rows = self._rows(f"SELECT sum(energy_uj)::HUGEINT FROM ({' UNION ALL '.join(parts)})")
        return rows[0][0] or 0

    def totals(self, accounts: Collection[str], _within: Range) -> list[AccountRow]:
        """Return all that some accounts ever received, by account and node.

        Short questions, added up here: to plan one for all of it would take longer than to answer it.
        """
        names = self._numbered("account", accounts)
        if not names:
            return []
        own, parameters = among("account_id", names)
        found: dict[tuple[int, int], tuple[int, ...]] = {}
        table, rows, summed = "totals", f"interval_id >= {self._marks_of_sums().total_id}", "true"
        if not self._added_up:
            table, (rows, summed) = "node_hours", self._all_rows()
        rows_of = []
        for narrow, wide, of in (
            (EACH, EACH, f"ledger WHERE {rows} AND {own}"),
            (NARROW, NAMES, f"{table} WHERE {summed} AND {own}"),
        ):
            found_here = self._whole(f"SELECT account_id, node_id, {narrow} FROM {of}", parameters)
            if found_here is None:
                found_here = self._sums(f"SELECT account_id, node_id, {wide} FROM {of}", parameters)
            rows_of.append(found_here)
        if "unattributed" in accounts:
            by_both = Parts(["account_id", "node_id"], EVERYTHING, None, fleet=False)
            rows_of.append(self._sums(by_both.gaps("true")))
        for account_id, node_id, *sums in chain.from_iterable(rows_of):
            key = account_id, node_id
            found[key] = added(found[key], sums) if key in found else tuple(sums)
        received = [account_row(names[a], self._node_name(n), sums) for (a, n), sums in found.items()]
        return sorted(received, key=lambda row: (row.account, row.node))

    def energy_by_node(self) -> list[tuple[str, str, int]]:
        """Return (node, account, µJ) of all there ever was; all jobs are one account, `job`."""
        table, rows, summed = "totals", f"interval_id >= {self._ready().total_id}", "true"
        if not self._added_up:
            table, (rows, summed) = "node_hours", self._all_rows()
        energy = " + ".join(ENERGIES)
        active = " + ".join(ENERGIES[: len(ENERGIES) // 2])
        return self._rows(
            f"""
            SELECT node, CASE WHEN starts_with(account, 'job:') THEN 'job' ELSE account END AS class,
                sum(uj)::HUGEINT
            FROM (
                SELECT account_id, node_id, {energy} AS uj FROM {table} WHERE {summed} UNION ALL
                SELECT account_id, node_id, sum({energy}) FROM ledger WHERE {rows} GROUP BY ALL UNION ALL
                SELECT {UNATTRIBUTED}, node_id, sum({active}) FROM gap_ledger GROUP BY ALL)
            JOIN accounts USING (account_id) JOIN nodes USING (node_id)
            GROUP BY ALL HAVING sum(uj) > 0 ORDER BY ALL
            """
        )

    def summed(self, selected: Range, most_jobs: int) -> Summed:
        """Return what each account received on all nodes of a range, and how they were watched."""
        parts = self._parts(selected, ["account_id"], EVERYTHING)
        accounts = []
        if parts:
            sums = self._table(
                f"SELECT account_id, {OF_SUMS} FROM ({' UNION ALL '.join(parts)}) GROUP BY account_id", []
            )
            names = self._accounts_named(sums["account_id"].to_pylist())
            accounts = accounts_of(sums, names, most_jobs)
        watched = self._watched(selected, by_node=False)
        return Summed(accounts, watched[0] if watched else TimeRow("", 0, 0, 0, 0, 0))

    def energy_over_time(
        self,
        from_us: int,
        to_us: int,
        step_us: int,
        node: str | None,
        origin_us: int | None = None,
        most_jobs: int | None = None,
    ) -> list[tuple[str, int, int]]:
        """Return (account, step, µJ) of the ledger over the steps of (from_us, to_us]; none that is 0."""
        node_id = None
        if node is not None and (node_id := self._number("node", node)) is None:
            return []
        origin_us = from_us if origin_us is None else origin_us
        ready = None
        if self._added_up:
            (marks,) = self._rows("SELECT minute_id, hour_id, narrow_unix_us FROM added_up, forgotten_cells")
            ready = Ready(*marks)
        steps, gaps_to = Steps(origin_us, step_us), self._number("account", "unattributed")
        asked = over_time(from_us, to_us, steps, node_id, ready, self.books_kept(), gaps_to)
        parts = []
        if asked.cells:
            cells = self._table(asked.cells, [])
            parts.append(Stepped(*(whole(column) for column in cells.columns)))
        for question in asked.rows:
            for rows in map(asked.booked, self._batches(question)):
                parts.append(together([*spread(rows, steps)]))
        found = together(parts)
        names = self._accounts_named(places(found.account_id)[0].tolist())
        return steps_of(found, names, most_jobs)

    def _parts(self, selected: Range, keys: Sequence[str], columns: Columns) -> list[str]:
        """Return SQL for sums by some keys, to be added up; none of what is not known."""
        conditions = {}
        for table, name in (("node", selected.node), ("account", selected.account)):
            if name is not None:
                if (number := self._number(table, name)) is None:
                    return []
                conditions[table] = f" AND {table}_id = {number}"
        parts = Parts(
            keys,
            columns,
            self._marks_of_sums(),
            fleet="node_id" not in keys and selected.node is None,
            own="".join(conditions.values()),
            own_gaps=conditions.get("node", ""),
            widest_us=self._widest_us,
            kept=self.books_kept(),
        )
        gaps = selected.account in (None, "unattributed")
        cut = parts.within if self._added_up else parts.by_rows
        return [*cut(selected.from_us, selected.to_us, gaps=gaps)]


def _added_up(parts: Sequence[str], keys: Sequence[str]) -> str:
    named = ", ".join(key.removesuffix("_id") for key in keys)
    joins = " ".join(f"JOIN {key.removesuffix('_id')}s USING ({key})" for key in keys)
    return (
        f"SELECT {named}, {NAMES} FROM (SELECT {', '.join(keys)}, {OF_SUMS} "
        f"FROM ({' UNION ALL '.join(parts)}) GROUP BY ALL) {joins} ORDER BY {named}"
    )
