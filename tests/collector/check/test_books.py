"""A check of a store finds what is wrong with it, names it, and finds nothing where nothing is."""

import json
import re
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from joulebook.cli.main import main
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.v1 import report_pb2
from tests.collector.store.histories import history
from tests.simulated.cluster import cluster
from tests.simulated.delivery import decoded, deliver
from tests.simulated.node import Load, SimulatedNode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Books of three nodes in a file: gaps, restarts, a node meter, and a wall clock that was set back."""
    made = cluster(str(tmp_path / "books.duckdb"))
    reports = history(SimulatedNode(name="n3"), step_us=3_000_000)
    deliver(made.store, [reports[:2], reports[3:]])
    made.store.close()
    return Path(made.path)


def _check(path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["store", "check", "--store", str(path), *options])


def test_sound_books(path: Path) -> None:
    """Nothing is found in books with all that makes them hard; the file is not touched, the status 0."""
    before = path.read_bytes()
    checked = _check(path, "--replay")
    assert (checked.exit_code, checked.output) == (
        0,
        f"store {path}: the books are what the raw readings make\n",
    )
    assert path.read_bytes() == before
    assert json.loads(_check(path, "--json").output) == []


def test_books_without_a_report(tmp_path: Path) -> None:
    """A new store is sound."""
    DuckDBStore(tmp_path / "books").close()
    assert _check(tmp_path / "books", "--replay").exit_code == 0


_IDLE = "account_id = (SELECT account_id FROM accounts WHERE account = 'idle')"
_FIRST = "interval_id = (SELECT min(interval_id) FROM intervals WHERE NOT is_gap)"
_GAP = "interval_id = (SELECT min(interval_id) FROM intervals WHERE is_gap)"
_LONE_GAP = f"UPDATE gap_ledger SET interval_id = 999 WHERE {_GAP}"


@pytest.mark.parametrize(
    ("statement", "replay", "expected"),
    [
        (f"UPDATE ledger SET cpu_idle_uj = cpu_idle_uj + 1 WHERE {_IDLE}", False, "residual n1 .* n2 .* n3"),
        (f"DELETE FROM ledger WHERE {_FIRST}", False, r"residual n1 \S+ \d+ µJ booked \d+ µJ measured"),
        ("DELETE FROM ledger", False, "residual n1 .* µJ booked .* n2 .* n3"),
        (f"UPDATE gap_ledger SET cpu_active_uj = cpu_active_uj - 1 WHERE {_GAP}", False, "residual n1"),
        (f"DELETE FROM gap_ledger WHERE {_GAP}", False, "orphan .*1 of gap, .* each has a row"),
        *(
            (f"UPDATE {table} SET cpu_active_uj = 1 + cpu_active_uj", False, f"sums .*{what}: .* add up to")
            for table, what in (
                ("totals", "totals"),
                ("node_days", "days of nodes"),
                ("node_hours", "hours of nodes"),
                ("fleet_days", "days of all nodes"),
                ("fleet_hours", "hours of all nodes"),
                ("fleet_minutes", "minutes of all nodes"),
            )
        ),
        ("DELETE FROM fleet_cell_minutes", False, "sums .*minutes of time"),
        ("DELETE FROM fleet_cell_hours", False, "sums .*hours of time"),
        (
            f"UPDATE intervals SET report = report[1:20]::BLOB WHERE {_FIRST}",
            True,
            "readings n1 .*without the readings of its layout",
        ),
        (
            f"UPDATE ledger SET cpu_idle_uj = -5 WHERE {_FIRST}",
            False,
            "negative n1 .*down to -5 none below 0",
        ),
        (_LONE_GAP, False, "orphan .*1 of gap's row, the first is 999 each has a gap"),
        (
            "DELETE FROM layouts WHERE node_id = 0",
            False,
            "orphan .* of Report, the first is 0 each has a layout",
        ),
        ("INSERT INTO ledger SELECT * FROM ledger LIMIT 1", False, "twice .*1 of ledger row"),
        (
            # As much energy in all, but not whose it was.
            f"UPDATE ledger SET cpu_idle_uj = cpu_idle_uj - 7, gpu_idle_uj = gpu_idle_uj + 7 WHERE {_IDLE}",
            True,
            r"replay n1 \S+ Report \d+, idle: cpu_idle_uj \d+, gpu_idle_uj 7 cpu_idle_uj \d+",
        ),
        (
            f"UPDATE ledger SET variance_uj2 = 1 + variance_uj2 WHERE {_FIRST}",
            True,
            "replay n1 .*variance_uj2",
        ),
        (
            f"UPDATE intervals SET unread_us = 9 WHERE {_FIRST}",
            True,
            r"replay n1 .*raised_uj \(9, 0\) \(0, 0\)",
        ),
        (f"UPDATE intervals SET missing_ppm = 4 WHERE {_GAP}", True, "replay n1 .*gap at .*missing_ppm=4"),
        (
            f"DELETE FROM gap_ledger WHERE {_GAP}; DELETE FROM intervals WHERE {_GAP}",
            True,
            "replay n1 .*: none .*Gap",
        ),
    ],
)
def test_what_is_wrong_is_named(path: Path, statement: str, replay: bool, expected: str) -> None:
    """Whatever happened to rows, a check ends with 1 and names the node, the day, and what was expected."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)
    checked = _check(path, *(["--replay"] if replay else []), "--json")
    assert checked.exit_code == 1, checked.output
    found = " ".join(" ".join(row.values()) for row in json.loads(checked.output))
    assert re.search(expected, found), found
    shown = _check(path, *(["--replay"] if replay else []))
    assert shown.exit_code == 1
    assert "expected" in shown.output.splitlines()[0] + shown.output.splitlines()[1]


def test_rows_from_before_there_were_tiers_are_sound(tmp_path: Path) -> None:
    """Rows that an older version booked tell of no tier; what tells of one has to be right."""
    path = tmp_path / "books.duckdb"
    names = ("cpu.0", "disk.nvme0n1")
    node = SimulatedNode(domains=[(name, report_pb2.SOURCE_KIND_COUNTER) for name in names])
    node.begin([Load("slurm.1", cpu_us=900_000, disk_bytes={"disk.nvme0n1": 5})])
    for _ in range(3):
        node.tick()
    store = DuckDBStore(path)
    deliver(store, [decoded(node, [node.report()])])
    store.close()
    tables = ("ledger", "totals", "node_hours", "node_days", "fleet_minutes", "fleet_hours", "fleet_days")
    for nvme_uj, is_sound in (("0", True), ("1", False)):
        with duckdb.connect(str(path)) as connection:
            for table in tables:
                connection.execute(f"UPDATE {table} SET nvme_uj = {nvme_uj}")
        checked = _check(path, "--replay")
        assert (checked.exit_code == 0) == is_sound, checked.output
