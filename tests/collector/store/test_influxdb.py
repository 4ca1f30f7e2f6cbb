"""Nothing is acknowledged that InfluxDB does not hold, and what is wrong with it is said in full."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from joulebook.cli.main import main
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.influxdb_http import InfluxServer
from joulebook.collector.store.opened import open_store
from joulebook.collector.store.protocol import StoreError
from tests.servers.influxdb import RunningInflux, influxdb
from tests.servers.programs import free_port
from tests.simulated.delivery import EVER, books_of, decoded, deliver, energy_uj, total_uj
from tests.simulated.node import Load, SimulatedNode


def _reports(node: SimulatedNode, count: int = 4) -> list[Decoded]:
    node.begin([Load("slurm.1", cpu_us=2_000_000, memory_bytes=1 << 30, user="ada l")])
    sent = []
    for _ in range(count):
        for _ in range(5):
            node.tick()
        sent.append(node.report())
    return decoded(node, sent)


class _FailsAt:
    """Makes a store's writes of lines that begin so fail, as if the server died there."""

    def __init__(self, store: InfluxStore, monkeypatch: pytest.MonkeyPatch, begin: bytes) -> None:
        self._write = store._server.write
        self._begin = begin
        monkeypatch.setattr(store._server, "write", self)

    def __call__(self, body: bytes, policy: str = "") -> None:
        if any(one.startswith(self._begin) for one in body.splitlines()):
            raise StoreError("the server died")
        self._write(body, policy)


@pytest.mark.parametrize("begin", [b"layout", b"domain", b"ledger", b"report"])
def test_report_without_a_mark_was_never_there(
    influx: RunningInflux, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    """Wherever a commit breaks off, answers are as before it; sent again, it is there once."""
    node = SimulatedNode()
    reports = _reports(node)
    store = InfluxStore(influx.fresh())
    deliver(store, [[reports[0]], [reports[2]]])
    before = books_of(store)
    fresh = InfluxStore(store._server.address.url.replace("http", "influxdb", 1) + "/" + _database(store))
    with monkeypatch.context() as patched:
        _FailsAt(fresh, patched, begin)
        with pytest.raises(StoreError, match="died"):
            deliver(fresh, [[reports[1], reports[3]]])
    assert books_of(store) == before
    assert get_ledger(store, node="n1", from_us=0, to_us=EVER.to_us).residual_uj == 0
    assert len(store.spans("n1", node.boot, 0, 1 << 50)) == 2
    deliver(fresh, [[reports[1], reports[3]]])
    assert total_uj(store) == node.measured_uj
    assert energy_uj(store, "unattributed") == 0
    store.close()
    fresh.close()


def _database(store: InfluxStore) -> str:
    return store._server.address.database


def _sum(store: InfluxStore, account: str) -> int:
    """Return what a dashboard would show of an account: the rows as they are."""
    (found,) = store._server.query(f'SELECT sum(cpu_active_uj) FROM "ledger" WHERE "account" = \'{account}\'')
    return int(found[0].values[0][1]) if found else 0


def test_filled_gap_is_empty_for_dashboards_too(influx: RunningInflux) -> None:
    """A gap that is filled leaves nothing in the rows that others read."""
    node = SimulatedNode()
    reports = _reports(node, 6)
    store = InfluxStore(influx.fresh())
    deliver(store, [[reports[0]], [reports[5]]])
    assert _sum(store, "unattributed") > 0
    deliver(store, [[reports[2]], [reports[1]], [reports[4], reports[3]]])
    assert _sum(store, "unattributed") == 0
    store.close()


def test_dashboards_see_the_whole_of_every_account(influx: RunningInflux) -> None:
    """The ledger's energy_uj and idle_uj add up to the books, gaps included; jobs have their user's tag."""
    node = SimulatedNode()
    reports = _reports(node)
    store = InfluxStore(influx.fresh())
    deliver(store, [[reports[0], reports[2]], [reports[3]]])
    (found,) = store._server.query('SELECT sum("energy_uj") FROM "ledger" GROUP BY "account"')
    shown = {series.tags["account"]: series.values[0][1] for series in found}
    assert shown == {a.account: sum(a.active_uj) + sum(a.idle_uj) for a in store.accounts(EVER)}
    assert sum(shown.values()) == node.measured_uj
    (found,) = store._server.query('SELECT sum("idle_uj") FROM "ledger" GROUP BY "account"')
    idle = {series.tags["account"]: series.values[0][1] for series in found}
    assert idle == {a.account: sum(a.idle_uj) for a in store.accounts(EVER)}
    (found,) = store._server.query('SELECT sum("energy_uj") FROM "ledger" WHERE "user" = \'ada l\'')
    assert found[0].values[0][1] == shown["job:slurm.1"]
    store.close()


def test_a_lost_row_is_found(influx: RunningInflux) -> None:
    """A row of the ledger that was lost or changed shows as a residual: the check reads raw readings."""
    node = SimulatedNode()
    store = InfluxStore(influx.fresh())
    deliver(store, [_reports(node)])
    row = "ledger,account=idle,node=n1 cpu_idle_uj=0i,cpu_active_uj=0i"
    (found,) = store._server.query(
        "SELECT cpu_idle_uj FROM ledger WHERE account = 'idle' ORDER BY time LIMIT 1"
    )
    time_us, energy = found[0].values[0]
    store._server.write(f"{row} {time_us}\n".encode())
    assert get_ledger(store, node=None, from_us=0, to_us=EVER.to_us).residual_uj == energy
    store.close()


def test_two_collectors_share_a_database(influx: RunningInflux) -> None:
    """Reports of a node that reach two collectors in turns are booked once each, and without gaps."""
    node = SimulatedNode()
    reports = _reports(node, 6)
    address = influx.fresh()
    first, second = InfluxStore(address), InfluxStore(address)
    for i, report in enumerate(reports):
        deliver((first, second)[i % 2], [[report]])
    deliver(first, [reports])
    assert books_of(first) == books_of(second)
    assert total_uj(first) == node.measured_uj
    assert energy_uj(first, "unattributed") == 0
    first.close()
    second.close()


def test_dead_server(tmp_path: Path) -> None:
    """A server that is not there, or dies, is named by its address; it goes on when it is back."""
    with pytest.raises(StoreError, match=r"no InfluxDB answers \(.*refused\); is it running\?"):
        open_store(f"influxdb://127.0.0.1:{free_port()}/joulebook")
    with influxdb(tmp_path / "influxdb") as running:
        node = SimulatedNode()
        reports = _reports(node)
        store = InfluxStore(running.fresh())
        deliver(store, [reports[:2]])
        os.kill(running.pid, signal.SIGSTOP)
        # kill() returns before every thread has stopped, and one of them might still answer.
        os.waitid(os.P_PID, running.pid, os.WSTOPPED)
        store._server._timeout_s = 0.3
        with pytest.raises(StoreError, match="no InfluxDB answers"):
            store.jobs()
        os.kill(running.pid, signal.SIGCONT)
        store._server._timeout_s = 60.0
        deliver(store, [reports])
        assert total_uj(store) == node.measured_uj
        store.close()


def test_server_killed_and_started_again(tmp_path: Path) -> None:
    """What was acknowledged is there after kill -9 of the server; what was refused is taken again."""
    node = SimulatedNode()
    reports = _reports(node)
    with influxdb(tmp_path / "influxdb") as running:
        name = running.fresh().rpartition("/")[2]
        store = InfluxStore(running.address(name))
        deliver(store, [reports[:2]])
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(StoreError, match=r"nothing was acknowledged|no InfluxDB answers"):
            deliver(store, [reports[2:]])
        store.close()
    with influxdb(tmp_path / "influxdb") as running:
        store = InfluxStore(running.address(name))
        assert len(store.spans("n1", node.boot, 0, 1 << 50)) == 2
        deliver(store, [reports])
        assert total_uj(store) == node.measured_uj
        store.close()


def _run(*arguments: str, **environ: str) -> str:
    result = CliRunner().invoke(main, arguments, env={"JOULEBOOK_CONFIG": "/dev/null", **environ})
    assert result.exit_code == 0, result.output
    return result.output


def test_setup_makes_what_is_missing(influx: RunningInflux) -> None:
    """Set up once it is made, with its retention; set up again, nothing changes."""
    address = influx.address("made")
    said = _run("store", "setup", f"--store={address}", "--retention=400d")
    assert "made database 'made', which keeps readings and books for 400 days" in said
    server = influx.server(address)
    (found,) = server.query('SHOW RETENTION POLICIES ON "made"')
    kept: dict[str, Any] = {row["name"]: row["duration"] for row in found[0].rows()}
    assert kept == {"autogen": "9600h0m0s", "names": "0s"}
    assert "everything is there already" in _run("store", "setup", f"--store={address}")
    server.close()


def test_setup_refuses_nonsense() -> None:
    """A retention that is no time is named with what was expected; a file needs no setup."""
    result = CliRunner().invoke(main, ["store", "setup", "--store=influxdb://h:1/d", "--retention=long"])
    assert (result.exit_code, "--retention 'long': expected a number" in result.output) == (2, True)
    assert "nothing to set up" in _run("store", "setup", "--store=/tmp/books.duckdb")


def test_answers_in_pieces_are_joined(influx: RunningInflux) -> None:
    """A series of more rows than the server sends at once is one series."""
    server: InfluxServer = influx.server(influx.fresh())
    server.write("".join(f"node,node=a x={i}i {i}\n" for i in range(25_000)).encode())
    (found,) = server.query('SELECT "x" FROM "node" GROUP BY "node"')
    assert [len(series.values) for series in found] == [25_000]
    assert found[0].values[-1] == [24_999, 24_999]
    server.close()
