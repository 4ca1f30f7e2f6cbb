"""Both stores, each empty, and one InfluxDB server for all tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulebook.collector.store.opened import open_store
from joulebook.collector.store.protocol import Store
from tests.servers.influxdb import RunningInflux, influxdb


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInflux]:
    """A real InfluxDB."""
    with influxdb(tmp_path_factory.mktemp("influxdb")) as running:
        yield running


@dataclass(slots=True)
class Kind:
    """A kind of store: fresh() names an empty one, opened() opens what has a name."""

    name: str
    fresh: Callable[[], str]
    _open: list[Store] = field(default_factory=list)

    def opened(self, name: str | None = None) -> Store:
        """Open a store, an empty one if none is named; it is closed after the test."""
        store = open_store(name or self.fresh())
        self._open.append(store)
        return store

    def close(self) -> None:
        """Close every store that was opened."""
        while self._open:
            self._open.pop().close()


@pytest.fixture(params=["duckdb", "influxdb"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    """Each kind of store in turn."""
    if request.param == "influxdb":
        fresh = request.getfixturevalue("influx").fresh
    else:
        numbers = iter(range(1000))

        def fresh() -> str:
            return str(tmp_path / f"{next(numbers)}.duckdb")

    made = Kind(request.param, fresh)
    yield made
    made.close()
