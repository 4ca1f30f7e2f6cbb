"""A connection to the embedded store, and the layouts that were read through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb.files import Files
from joulebook.collector.store.protocol import Range
from joulebook.v1 import report_pb2


class Connected:
    """A store's connection. Every call has a cursor of its own, so calls may overlap."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, files: Files | None = None) -> None:
        self._connection = connection
        # Where blocks are; a store in memory has none.
        self.files = files
        self._layouts: dict[int, NodeLayout] = {}

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

    def close(self) -> None:
        """Let go of the store."""
        self._connection.close()

    def _rows(
        self, query: str, parameters: list[Any] | dict[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            return cursor.execute(query, parameters or []).fetchall()

    def _table(self, query: str, parameters: list[Any]) -> pa.Table:
        with self._cursor() as cursor:
            return cursor.sql(query, params=parameters).to_arrow_table()

    def _layout(self, layout_id: int) -> NodeLayout:
        found = self._layouts.get(layout_id)
        if found is None:
            ((hash_, serialized),) = self._rows(
                "SELECT hash, serialized FROM layouts WHERE layout_id = ?", [layout_id]
            )
            if len(self._layouts) > 20_000:
                self._layouts.clear()
            found = NodeLayout(hash_, report_pb2.Layout.FromString(serialized))
            self._layouts[layout_id] = found
        return found

    @staticmethod
    def _where(selected: Range, node_column: str = "node") -> tuple[str, list[Any]]:
        where, parameters = "end_unix_us > ? AND end_unix_us <= ?", [selected.from_us, selected.to_us]
        if selected.node is not None:
            where += f" AND {node_column} = ?"
            parameters.append(selected.node)  # type: ignore[arg-type]
        return where, list[Any](parameters)
