"""The embedded store: one DuckDB file, one writer, any number of readers beside it."""

from joulebook.collector.store.duckdb.store import SCHEMA_VERSION, DuckDBStore

__all__ = ["SCHEMA_VERSION", "DuckDBStore"]
