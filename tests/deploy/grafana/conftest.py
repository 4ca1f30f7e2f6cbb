"""One InfluxDB server with the hour in it for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from joulebook.collector.store.influxdb import InfluxStore
from tests.deploy.grafana.site import Site
from tests.servers.influxdb import influxdb
from tests.simulated.rack import fill


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real InfluxDB with an hour of three nodes, written by the store itself."""
    with influxdb(tmp_path_factory.mktemp("influxdb")) as running:
        address = running.fresh()
        store, server = InfluxStore(address), running.server(address)
        yield Site(server, store, fill(store))
        store.close()
        server.close()
