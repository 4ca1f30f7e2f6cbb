"""A backup that is taken while Reports come is one whole state of the books, and only its machine may ask."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import httpx
import pytest

from joulebook.collector.backup.manifest import BackupError
from joulebook.collector.backup.take import take
from joulebook.v1 import ingest_pb2
from joulebook.v1.ingest_pb2_grpc import IngestServiceStub
from tests.collector.backup.files import energy_uj, joulebook, restored, sound_books
from tests.simulated.collector import LiveCollector
from tests.simulated.node import Load, SimulatedNode

Request = ingest_pb2.StreamReportsRequest


class _Stream:
    """A node that never stops sending Reports, and what was acknowledged of them."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._node = SimulatedNode()
        self._node.begin([Load("slurm.1", cpu_us=1_000_000)])
        self._stop = threading.Event()
        self._told = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        # What the meters had delivered at the end of each Report, in µJ.
        self.measured_uj: list[int] = []
        self.answers = 0

    def _requests(self) -> Iterator[Request]:
        yield from (Request(layouts=[serialized]) for serialized in self._node.layouts.values())
        while not self._stop.is_set():
            self._node.tick()
            self.measured_uj.append(self._node.measured_uj)
            yield Request(reports=[self._node.report().SerializeToString()])
            # Some hundred a second, so that what is backed up stays small.
            time.sleep(0.005)

    def _run(self) -> None:
        with grpc.insecure_channel(self._address) as channel:
            for answer in IngestServiceStub(channel).StreamReports(self._requests()):
                assert not any(ack.code for ack in answer.acks), answer
                with self._told:
                    self.answers += len(answer.acks)
                    self._told.notify_all()

    def acknowledged(self, more: int) -> int:
        """Wait until so many more are acknowledged; return how many are."""
        with self._told:
            enough = self.answers + more
            assert self._told.wait_for(lambda: self.answers >= enough, timeout=120)
            return self.answers

    def __enter__(self) -> "_Stream":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()


def test_backup_while_reports_come(tmp_path: Path) -> None:
    """Backups of a collector that never stops committing are each one whole state.

    What had been acknowledged before one was asked for is in it; its books are those that its readings make.
    """
    taken = []
    with LiveCollector(tmp_path / "books.duckdb") as live, _Stream(live.addresses.grpc) as stream:
        for number in range(2):
            acknowledged = stream.acknowledged(20)
            to = tmp_path / f"backup {number}"
            made = joulebook("backup", to, "--server", f"http://{live.addresses.http}", "--json")
            assert made.exit_code == 0, made.output
            taken.append((acknowledged, json.loads(made.output)["booked_uj"], to))
    assert stream.answers == len(stream.measured_uj)
    for acknowledged, booked_uj, to in taken:
        assert booked_uj in stream.measured_uj
        assert booked_uj >= stream.measured_uj[acknowledged - 1]
        store = tmp_path / f"{to.name} restored" / "books.duckdb"
        store.parent.mkdir()
        done = restored(to, store)
        assert done.exit_code == 0, done.output
        assert energy_uj(sound_books(store)) == booked_uj
        assert store.with_suffix(".alerts.sqlite").exists()
        # A collector goes on with it.
        with LiveCollector(store) as live:
            ledger = httpx.get(f"http://{live.addresses.http}/api/v1/ledger?from=0", timeout=60).json()
            assert (ledger["measured_uj"], ledger["residual_uj"]) == (booked_uj, 0)


def test_alerts_are_backed_up(path: Path, tmp_path: Path) -> None:
    """The alerts beside the store come along, though their file is in use."""
    with closing(sqlite3.connect(path.with_suffix(".alerts.sqlite"))) as alerts:
        alerts.executescript("PRAGMA journal_mode = WAL; CREATE TABLE kept (x); INSERT INTO kept VALUES (7);")
        assert joulebook("backup", tmp_path / "b", "--store", path).exit_code == 0
    assert restored(tmp_path / "b", tmp_path / "again.duckdb").exit_code == 0
    with closing(sqlite3.connect(tmp_path / "again.alerts.sqlite")) as alerts:
        assert alerts.execute("SELECT x FROM kept").fetchall() == [(7,)]


def test_nothing_is_overwritten(path: Path, backup: Path, tmp_path: Path) -> None:
    """A directory that is there is left alone, and so is one that would have to be made first."""
    before = {p.name: p.read_bytes() for p in backup.iterdir()}
    again = joulebook("backup", backup, "--store", path)
    assert again.exit_code == 1
    assert "is there already; name a directory that is not" in again.output
    assert {p.name: p.read_bytes() for p in backup.iterdir()} == before
    nowhere = joulebook("backup", tmp_path / "no" / "where", "--store", path)
    assert f"{tmp_path / 'no'} is no directory; make it first" in nowhere.output


def test_only_its_own_machine_may_ask(tmp_path: Path) -> None:
    """A page that a browser shows, or a proxy that passes others on, cannot have files written."""
    with LiveCollector(tmp_path / "books.duckdb") as live:
        url, to = f"http://{live.addresses.http}/api/v1/backup", tmp_path / "b"
        for headers in (
            {"Origin": "http://evil.example"},
            {"Host": "evil.example:8460"},
            {"Sec-Fetch-Site": "cross-site"},
            {"X-Forwarded-For": "192.0.2.7"},
        ):
            refused = httpx.post(url, json={"to": str(to)}, headers=headers, timeout=60)
            assert refused.status_code == 403, headers
            assert "on the collector's own machine" in refused.json()["detail"]
        body = json.dumps({"to": str(to)})
        plain = httpx.post(url, content=body, headers={"Content-Type": "text/plain"}, timeout=60)
        assert plain.status_code == 400
        for value in ("relative", str(tmp_path), str(tmp_path / "no" / "where"), "/"):
            wrong = httpx.post(url, json={"to": value}, timeout=60).json()
            assert (wrong["status"], wrong["field"]) == (400, "to")
        assert httpx.post(url, json={}, timeout=60).json()["field"] == "to"
        assert not to.exists()
        assert httpx.post(url, json={"to": str(to)}, timeout=60).status_code == 201
        document = httpx.get(f"http://{live.addresses.http}/openapi.json", timeout=60).json()
        assert list(document["paths"]["/api/v1/backup"]) == ["post"]


def test_no_collector_answers(tmp_path: Path) -> None:
    """Where none runs, the command says so instead of making an empty backup."""
    failed = joulebook("backup", tmp_path / "b", "--server", "http://127.0.0.1:1")
    assert failed.exit_code == 1
    assert "no collector answers at http://127.0.0.1:1" in failed.output


def test_a_server_is_not_backed_up_here(tmp_path: Path) -> None:
    """Where the books are in a database, the database's own backup is named."""
    with pytest.raises(BackupError, match="the books are in a server: back that up by its own means"):
        take(object(), tmp_path / "b", {}, 0)  # type: ignore[arg-type]


def test_a_full_disk_leaves_no_half_backup(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that cannot be finished is taken away, and its name is free for the next try."""

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("joulebook.collector.backup.take.described", full)
        failed = joulebook("backup", tmp_path / "b", "--store", path)
    assert failed.exit_code == 1
    assert "No space left on device" in failed.output
    assert not list(tmp_path.glob("b")) + list(tmp_path.glob("b.*"))
    assert joulebook("backup", tmp_path / "b", "--store", path).exit_code == 0
