"""Every kind of store, each empty, and one server of each kind for all tests here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.opened import open_store
from joulebook.collector.store.protocol import Store
from joulebook.collector.store.victoriametrics.store import VictoriaStore
from tests.collector.store.histories import reports_of
from tests.servers.influxdb import RunningInflux, influxdb
from tests.servers.victoriametrics import RunningVictoria, victoria_metrics
from tests.simulated.cluster import Cluster, cluster
from tests.simulated.delivery import NOW_US, deliver

# Of DuckDB twice: right after a commit, and when all that is settled was moved into blocks. Of
# VictoriaMetrics twice: right after a commit, and when nothing is kept beside it any more.
KINDS = ["duckdb", "duckdb tended", "influxdb", "victoriametrics", "victoriametrics settled"]


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInflux]:
    """A real InfluxDB."""
    with influxdb(tmp_path_factory.mktemp("influxdb")) as running:
        yield running


@pytest.fixture(scope="session")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningVictoria]:
    """A real VictoriaMetrics."""
    with victoria_metrics(tmp_path_factory.mktemp("victoria")) as running:
        yield running


def settle(store: VictoriaStore, server: RunningVictoria) -> None:
    """Let the time pass after which everything must be with the server alone."""
    server.flush()
    # What another process wrote is looked at a minute after it was seen first.
    for later_s in (1e6, 2e6):
        store._keeping.look(time.monotonic() + later_s)
    assert store._facts.kept_marks() == []


def tend(store: DuckDBStore) -> None:
    """Have the time come at which everything is settled, and moved but for the newest Report of each boot."""
    for _ in Keeper(store).steps(NOW_US):
        pass


@dataclass(slots=True)
class Kind:
    """A kind of store: fresh() names an empty one, opened() opens what has a name."""

    name: str
    directory: Path
    request: pytest.FixtureRequest
    _numbers: int = 0
    _open: list[Store] = field(default_factory=list)

    def fresh(self) -> str:
        """Name a store that nothing is in."""
        if self.name == "influxdb":
            return str(self.request.getfixturevalue("influx").fresh())
        self._numbers += 1
        return str(self.directory / f"{self._numbers}.{self.name.partition(' ')[0]}")

    def opened(self, name: str | None = None) -> Store:
        """Open a store, an empty one if none is named; it is closed after the test."""
        name = name or self.fresh()
        if self.name.startswith("victoriametrics"):
            # Its file of facts tells one store from another on the same server.
            store = open_store(self.request.getfixturevalue("victoria").address, facts=name)
        else:
            store = open_store(name)
        self._open.append(store)
        return store

    def delivered(self) -> None:
        """Let the time pass that a store needs."""
        for store in self._open:
            if self.name.endswith("tended") and isinstance(store, DuckDBStore):
                tend(store)
            if self.name.endswith("settled") and isinstance(store, VictoriaStore):
                settle(store, self.request.getfixturevalue("victoria"))

    def close(self) -> None:
        """Close every store that was opened."""
        self.delivered()
        while self._open:
            self._open.pop().close()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    """Each kind of store in turn."""
    made = Kind(request.param, tmp_path, request)
    yield made
    made.close()


@pytest.fixture(scope="session")
def truth() -> Cluster:
    """Two nodes' books, with a gap, a restart and a job that ended, in a DuckDB."""
    return cluster()


@pytest.fixture(scope="session", params=KINDS)
def store(
    request: pytest.FixtureRequest, truth: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The same history, delivered to a store of each kind; tests only read it."""
    made = Kind(request.param, tmp_path_factory.mktemp("store"), request)
    delivered = made.opened()
    deliver(delivered, reports_of(truth))
    made.delivered()
    yield delivered
    made.close()
