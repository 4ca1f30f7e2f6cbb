"""A connection to the embedded store, and the layouts that were read through it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb import damage
from joulebook.collector.store.duckdb.files import Files
from joulebook.collector.store.duckdb.hugeint import whole
from joulebook.collector.store.protocol import Range
from joulebook.v1 import report_pb2

# So many numbers are named in a question one by one.
_FEW = 16
# So many rows of a question for many are in memory at once.
_BATCH = 1 << 18


class Connected:
    """A store's connection. Every call has a cursor of its own, so calls may overlap."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, files: Files | None = None) -> None:
        self._connection = connection
        # Where blocks are; a store in memory has none.
        self.files = files
        self._layouts: dict[int, NodeLayout] = {}
        self._node_names: dict[int, str] = {}
        self._account_names: dict[int, str] = {}
        self._boot_names: dict[int, bytes] = {}
        # Of nodes and accounts, by table and name.
        self._numbers: dict[tuple[str, str], int] = {}

    def _know_what_does(self, other: Connected) -> None:
        """Know the names and layouts that another one knows, and let it know what is learnt here."""
        self._layouts, self._node_names = other._layouts, other._node_names
        self._account_names, self._boot_names = other._account_names, other._boot_names
        self._numbers = other._numbers

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Keep files where they are while several questions are asked."""
        if self.files is None:
            yield
        else:
            with self.files.reading():
                yield

    def _told(self, query: str) -> AbstractContextManager[None]:
        """Tell which file of a block a question cannot be answered for, where it reads any."""
        return damage.reading(self, damage.named_in(query)) if ".parquet'" in query else nullcontext()

    def close(self) -> None:
        """Let go of the store."""
        self._connection.close()

    def _rows(
        self, query: str, parameters: list[Any] | dict[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor, self._told(query):
            return cursor.execute(query, parameters or []).fetchall()

    def _table(self, query: str, parameters: list[Any]) -> pa.Table:
        with self._cursor() as cursor, self._told(query):
            return cursor.sql(query, params=parameters).to_arrow_table()

    def _batches(self, query: str) -> Iterator[pa.Table]:
        """Give what a question finds, some rows at a time; nothing else is asked the while."""
        with self._cursor() as cursor:
            for batch in cursor.sql(query).to_arrow_reader(_BATCH):
                yield pa.Table.from_batches([batch])

    def _columns(self, query: str, parameters: list[Any]) -> dict[str, Any]:
        """Return what a question finds in numpy's columns; NULLs and HUGEINTs are not for this."""
        with self._cursor() as cursor:
            return cursor.execute(query, parameters).fetchnumpy()

    def _whole(self, query: str, parameters: list[Any]) -> list[tuple[int, ...]] | None:
        """Return rows of whole numbers of 64 bits; None where one is NULL, as is what does not fit."""
        columns = self._columns(query, parameters).values()
        if any(np.ma.is_masked(column) for column in columns):
            return None
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def _sums(self, query: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Return rows of a question for many sums: HUGEINTs become ints many at a time."""
        table = self._table(query, parameters or [])
        return list(zip(*(_values(column) for column in table.columns), strict=True))

    def _number(self, table: str, name: str) -> int | None:
        """Return the number of a node or an account."""
        known = self._numbers.get((table, name))
        if known is None:
            found = self._rows(f"SELECT {table}_id FROM {table}s WHERE {table} = ?", [name])
            if not found:
                return None
            known = self._numbers[table, name] = found[0][0]
        return known

    def _numbered(self, table: str, names: Collection[str]) -> dict[int, str]:
        """Return those of some nodes or accounts that there are, by number."""
        unknown = [name for name in names if (table, name) not in self._numbers]
        if unknown:
            # Names of many are read at once; a name never changes its number.
            rows = self._rows(
                f"SELECT {table}, {table}_id FROM {table}s WHERE {table} "
                + ("= $1" if len(unknown) == 1 else "IN (SELECT unnest($1::VARCHAR[]))"),
                unknown if len(unknown) == 1 else [unknown],
            )
            self._numbers.update({(table, name): number for name, number in rows})
        known = ((self._numbers.get((table, name)), name) for name in names)
        return {number: name for number, name in known if number is not None}

    def _node_name(self, node_id: int) -> str:
        if node_id not in self._node_names:
            # A name never changes. Of a number without one `store check` tells.
            self._node_names.update(self._rows("SELECT node_id, node FROM nodes"))
        return self._node_names.get(node_id, "")

    def _boots(self, boot_ids: Iterable[int]) -> dict[int, bytes]:
        """Return the boots of these numbers and others."""
        if not self._boot_names.keys() >= {*boot_ids}:
            # A boot never changes its number, and numbers only grow.
            self._boot_names.update(
                (number, bytes(boot))
                for number, boot in self._rows(
                    "SELECT boot_id, boot FROM boots WHERE boot_id > ?",
                    [max([*self._boot_names], default=-1)],
                )
            )
        return self._boot_names

    def _accounts_named(self, account_ids: Iterable[int]) -> dict[int, str]:
        """Return the names of these accounts and others; none of a number that has none."""
        known = self._account_names
        if not known.keys() >= {*account_ids}:
            # A name never changes, and numbers only grow.
            known.update(
                self._rows(
                    "SELECT account_id, account FROM accounts WHERE account_id > ?",
                    # A copy: others may learn meanwhile.
                    [max([*known], default=-1)],
                )
            )
        return known

    def _layout(self, layout_id: int) -> NodeLayout:
        if layout_id not in self._layouts:
            self._learn_layouts([layout_id])
        return self._layouts[layout_id]

    def _learn_layouts(self, layout_ids: Iterable[int]) -> None:
        """Read those layouts that are not known yet, in one question."""
        unknown = {*layout_ids} - self._layouts.keys()
        if not unknown:
            return
        if len(self._layouts) > 20_000:
            self._layouts.clear()
        for number, hash_, serialized in self._rows(
            "SELECT layout_id, hash, serialized FROM layouts "
            "SEMI JOIN (SELECT unnest($1::INTEGER[]) AS layout_id) USING (layout_id)",
            [sorted(unknown)],
        ):
            self._layouts[number] = NodeLayout(hash_, report_pb2.Layout.FromString(serialized))

    @staticmethod
    def _where(selected: Range, node_column: str = "node") -> tuple[str, list[Any]]:
        where, parameters = "end_unix_us > ? AND end_unix_us <= ?", [selected.from_us, selected.to_us]
        if selected.node is not None:
            where += f" AND {node_column} = ?"
            parameters.append(selected.node)  # type: ignore[arg-type]
        return where, list[Any](parameters)


def _values(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_decimal(column.type) or column.null_count:
        return [*column.to_pylist()]
    return [*whole(column).tolist()]


def among(column: str, numbers: Collection[int]) -> tuple[str, list[Any]]:
    """Return a condition that holds for some numbers, one or more, and its parameters.

    A few are named one by one, which makes the shortest plan; many would make the longest.
    """
    if len(numbers) <= _FEW:
        return f"{column} IN ({', '.join(map(str, numbers))})", []
    return f"{column} IN (SELECT unnest($1::INTEGER[]))", [[*numbers]]
