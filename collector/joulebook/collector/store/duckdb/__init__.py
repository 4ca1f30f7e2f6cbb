"""The embedded store: one DuckDB file, one writer, any number of readers beside it."""

from joulebook.collector.store.duckdb.store import DuckDBStore

__all__ = ["DuckDBStore"]
