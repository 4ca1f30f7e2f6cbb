"""A backup is restored where nothing is, as it was, once its bytes and its books are proved to be sound."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from joulebook.collector.queries.times import rfc3339
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.copy import FILE
from tests.collector.backup.files import energy_uj, joulebook, restored, rows, sound_books
from tests.collector.store.histories import history, reports_of
from tests.simulated.cluster import cluster
from tests.simulated.delivery import books_of, deliver
from tests.simulated.node import SimulatedNode


def test_restored_is_what_was(path: Path, backup: Path, tmp_path: Path) -> None:
    """Every row of every table comes back as it was, and the manifest tells what is in them."""
    place = tmp_path / "new" / "books.duckdb"
    place.parent.mkdir()
    done = restored(backup, place)
    assert done.exit_code == 0, done.output
    assert "the raw readings say the same to the µJ" in done.output
    assert [p.name for p in place.parent.iterdir()] == ["books.duckdb"]
    assert rows(place) == rows(path)
    assert sound_books(place) == sound_books(path)
    manifest = json.loads((backup / "manifest.json").read_bytes())
    assert {mark["node"] for mark in manifest["newest"]} == {"n1", "n2", "n3"}
    assert sum(manifest["booked_uj"].values()) == energy_uj(sound_books(path))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _edit(backup: Path, **values: Any) -> None:
    path = backup / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | values))


def _edit_files(backup: Path, **values: Any) -> None:
    files = json.loads((backup / "manifest.json").read_bytes())["files"]
    _edit(backup, files=[file | values for file in files])


def _cook(backup: Path, statement: str) -> None:
    """Change rows of a backup, and make its checksums right: what is left to tell is the ledger itself."""
    with duckdb.connect(str(backup / FILE)) as connection:
        connection.execute(statement)
    content = (backup / FILE).read_bytes()
    _edit_files(backup, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


_ELSE = [{"node": "x", "boot": "", "end_us": 0, "end_unix_us": 0}]


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda b: _flip(b / FILE), f"{FILE} of .* expected .*damaged: use another backup"),
        (lambda b: (b / FILE).unlink(), f"{FILE}: No such file or directory; the backup is not whole"),
        (lambda b: (b / "manifest.json").unlink(), "no manifest.json .*expected a backup's directory"),
        (lambda b: (b / "manifest.json").write_text("{}"), "expected what `joulebook backup` writes"),
        (lambda b: _edit(b, format=2), "of format 2, expected 1"),
        (lambda b: _edit(b, schema_version=99), "of version 99, this joulebook knows them up to"),
        (lambda b: _edit_files(b, name="../else"), "'../else': expected a name below the directory"),
        (lambda b: _edit(b, booked_uj={}), "expected {}"),
        (lambda b: _edit(b, newest=_ELSE), "newest Reports are not those of its manifest"),
        (
            lambda b: _cook(b, "UPDATE ledger SET cpu_idle_uj = cpu_idle_uj + 1"),
            "things are wrong with its books, the first: residual of n1 .*measured",
        ),
        (
            lambda b: _cook(b, "DELETE FROM accounts WHERE account = 'idle'"),
            "wrong with its books, the first: orphan .*expected each has an account",
        ),
    ],
)
def test_what_is_not_sound_is_not_restored(backup: Path, tmp_path: Path, harm: Any, expected: str) -> None:
    """A backup that was harmed, in its bytes or in its books, is refused, and leaves nothing behind."""
    harm(backup)
    place = tmp_path / "new" / "books.duckdb"
    place.parent.mkdir()
    refused = restored(backup, place)
    assert refused.exit_code == 1, refused.output
    assert re.search(expected, refused.output), refused.output
    assert list(place.parent.iterdir()) == []


def test_nothing_is_overwritten(path: Path, backup: Path, tmp_path: Path) -> None:
    """A store, its log or alerts that are in the way are named and left alone."""
    before = path.read_bytes()
    refused = restored(backup, path)
    assert (refused.exit_code, path.read_bytes()) == (1, before)
    assert f"{path}: is there already; move it away, or restore elsewhere with --to" in refused.output
    for name in ("other.duckdb.wal", "other.alerts.sqlite"):
        (tmp_path / name).write_text("mine")
        refused = restored(backup, tmp_path / "other.duckdb")
        assert f"{tmp_path / name}: is there already" in refused.output
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_no_room(backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much a backup takes is told before anything is written."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: type("Usage", (), {"free": 10}))
    refused = restored(backup, tmp_path / "new.duckdb")
    assert refused.exit_code == 1
    assert "MiB, and 0 MiB are free" in refused.output


def test_restore_to_a_time(path: Path, backup: Path, tmp_path: Path) -> None:
    """Of every time that a Report ended at: what ended by then is there, as if nothing else had ever come."""
    whole = sound_books(path)
    late = history(SimulatedNode(name="n3"), step_us=3_000_000)
    everything = [*(d for own in reports_of(cluster()) for d in own), *late[:2], *late[3:]]
    ends = sorted({d.end_us + d.realtime_offset_us for d in everything})
    for number, at_us in enumerate([ends[0] - 1, *ends[::3], ends[-1]]):
        place = tmp_path / f"{number}.duckdb"
        done = restored(backup, place, "--at", rfc3339(at_us))
        assert done.exit_code == 0, done.output
        kept = [d for d in everything if d.end_us + d.realtime_offset_us <= at_us]
        left_out = f"{len(everything) - len(kept)} Reports that ended after {rfc3339(at_us)} are left out"
        assert left_out in done.output
        expected = DuckDBStore(":memory:")
        deliver(expected, [[d] for d in kept])
        assert sound_books(place) == books_of(expected)
        store = DuckDBStore(place)
        assert [job.job for job in store.jobs()] == [job.job for job in expected.jobs()]
        assert [row.node for row in store.nodes()] == [row.node for row in expected.nodes()]
        # What was left out may come again.
        deliver(store, [everything])
        assert books_of(store) == whole
        store.close()
        expected.close()


def test_a_time_whose_readings_are_forgotten(backup: Path, tmp_path: Path) -> None:
    """The books of a time of which no raw readings are kept could not be checked: it is refused."""
    _cook(backup, "UPDATE forgotten SET raw_unix_us = 1_800_000_000_000_000")
    refused = restored(backup, tmp_path / "new.duckdb", "--at", "2026-11-29T00:00:00Z")
    assert refused.exit_code == 1
    assert "raw readings are kept from 2027-01-15T08:00:00Z on" in refused.output
    assert not (tmp_path / "new.duckdb").exists()


def test_a_time_that_is_none(backup: Path, tmp_path: Path) -> None:
    """What is no time is refused before anything is read."""
    refused = joulebook("restore", backup, "--to", tmp_path / "new.duckdb", "--at", "noon")
    assert refused.exit_code == 1
    assert "at" in refused.output
    assert "RFC 3339" in refused.output
