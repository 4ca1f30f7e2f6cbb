"""An archive is read by others as it stands, and holds what the books hold."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset as ds
import pytest
from click.testing import CliRunner

from joulebook.cli.main import main
from joulebook.collector.queries.times import rfc3339
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.v1.catalogue import by_name
from tests.collector.store.histories import history
from tests.simulated.delivery import EVER, NOW_US, deliver, total_uj
from tests.simulated.node import SimulatedNode

BOOKED = "cpu_active_uj + cpu_idle_uj + memory_active_uj + memory_idle_uj + gpu_active_uj + gpu_idle_uj"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of two nodes, partly settled, with the wall clock set back at one of them."""
    path = tmp_path / "it's books"
    store = DuckDBStore(path)
    deliver(store, [history(SimulatedNode(), step_us=3_000_000)])
    for _ in Keeper(store).steps(NOW_US):
        pass
    deliver(store, [history(SimulatedNode(name="n2", boot=b"c" * 16))])
    store.close()
    return path


def _sql(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(query).fetchall()


def _archived(path: Path, to: Path, *options: str) -> str:
    done = CliRunner().invoke(main, ["archive", str(to), "--store", str(path), *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_others_read_what_the_books_hold(path: Path, tmp_path: Path) -> None:
    """DuckDB and Arrow find every value of every series and every joule; the manifest says as much."""
    told = json.loads(_archived(path, tmp_path / "archive", "--json"))
    store = DuckDBStore(path)
    for name in ("energy_uj", "memory_used_bytes", "cpu_us"):
        for points in store.points(EVER, by_name()[name].number, None):
            found = _sql(
                f"""
                SELECT unnest(interval_us) AS us, unnest("values") AS value
                FROM (FROM read_parquet('{str(tmp_path).replace("'", "''")}/archive/readings/*/*.parquet')
                      WHERE node = '{points.node}' AND metric = '{name}' AND domain = '{points.key.domain}'
                          AND workload = '{points.key.workload.replace("'", "''")}' ORDER BY end_unix_us)
                """
            )
            assert found == list(zip(points.interval_us.tolist(), points.values.tolist(), strict=True))
    booked = _sql(f"SELECT sum({BOOKED})::HUGEINT FROM read_parquet('{tmp_path}/archive/ledger/*/*.parquet')")
    assert booked == [(total_uj(store),)]
    assert told["booked_uj"] == total_uj(store)
    table = ds.dataset(tmp_path / "archive" / "readings", partitioning="hive").to_table()
    assert table.num_rows == told["readings"]
    assert set(table["day"].to_pylist()) != set()
    assert json.loads((tmp_path / "archive" / "manifest.json").read_text())["samples"] == told["samples"]
    assert "kWh" in (tmp_path / "archive" / "README.md").read_text()
    store.close()


def test_a_range_holds_its_reports_alone(path: Path, tmp_path: Path) -> None:
    """Two archives of ranges that meet hold together what one of both holds, and an empty one is empty."""
    store = DuckDBStore(path)
    ends = sorted(row.last_unix_us for row in store.nodes())
    store.close()
    cut = rfc3339(ends[0] - 15_000_000)
    whole = json.loads(_archived(path, tmp_path / "whole", "--json"))
    early = json.loads(_archived(path, tmp_path / "early", "--json", "--to", cut))
    late = json.loads(_archived(path, tmp_path / "late", "--json", "--from", cut))
    none = json.loads(_archived(path, tmp_path / "none", "--json", "--to", "1990-01-01T00:00:00Z"))
    assert 0 < early["samples"] < whole["samples"]
    for what in ("readings", "samples", "ledger", "booked_uj"):
        assert early[what] + late[what] == whole[what]
        assert none[what] == 0


def test_a_place_that_is_taken_is_refused(path: Path, tmp_path: Path) -> None:
    """What is there already is not written into."""
    (tmp_path / "archive").mkdir()
    done = CliRunner().invoke(main, ["archive", str(tmp_path / "archive"), "--store", str(path)])
    assert done.exit_code == 1
    assert "is there already; name a directory that is not" in done.output
