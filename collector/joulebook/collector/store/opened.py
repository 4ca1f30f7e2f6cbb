"""Which store a name means."""

from __future__ import annotations

from pathlib import Path

from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.influxdb_address import is_influxdb
from joulebook.collector.store.protocol import Store, StoreError


def open_store(name: str, *, credentials: str = "", compress: bool = True) -> Store:
    """Open an InfluxDB by its address, or else a file. Raises StoreError."""
    if is_influxdb(name):
        try:
            from joulebook.collector.store.influxdb import InfluxStore  # noqa: PLC0415  an extra
        except ModuleNotFoundError as error:
            if error.name != "influxdb_client":
                raise
            raise StoreError(
                f"store {name}: needs influxdb-client, which is not installed: "
                "pip install 'joulebook[collector,influxdb]'"
            ) from error
        return InfluxStore(name, credentials=credentials, compress=compress)
    if name != ":memory:":
        Path(name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return DuckDBStore(name)
