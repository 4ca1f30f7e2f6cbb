"""Which store a name means."""

from __future__ import annotations

from pathlib import Path

from joulebook.collector.store.duckdb.lasting import LastingStore
from joulebook.collector.store.influxdb_address import is_influxdb
from joulebook.collector.store.protocol import Store, StoreError
from joulebook.collector.store.victoriametrics.address import is_victoriametrics


def open_store(name: str, *, credentials: str = "", compress: bool = True, facts: str = "") -> Store:
    """Open an InfluxDB or a VictoriaMetrics by its address, or else a file. Raises StoreError.

    facts is where what is no time series is kept beside a VictoriaMetrics.
    """
    if is_influxdb(name) or is_victoriametrics(name):
        try:
            return _server(name, credentials, compress, facts)
        except ModuleNotFoundError as error:
            if error.name != "influxdb_client":
                raise
            raise StoreError(
                f"store {name}: needs influxdb-client, which is not installed: "
                "pip install 'joulebook[collector,influxdb]'"
            ) from error
    if name != ":memory:":
        Path(name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LastingStore(name)


def _server(name: str, credentials: str, compress: bool, facts: str) -> Store:
    # influxdb-client, whose writes and retries both use, is an extra.
    if is_influxdb(name):
        from joulebook.collector.store.influxdb import InfluxStore  # noqa: PLC0415

        return InfluxStore(name, credentials=credentials, compress=compress)
    from joulebook.collector.store.victoriametrics.store import VictoriaStore  # noqa: PLC0415

    if not facts:
        raise StoreError(f"store {name}: expected collector.facts, a file for what is no time series")
    return VictoriaStore(name, facts=facts, credentials=credentials, compress=compress)
