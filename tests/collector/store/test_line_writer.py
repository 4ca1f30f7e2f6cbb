"""Lines go by the path that a server's version has, and whatever it answers there is understood alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from joulebook.cli.main import main
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.store.credentials import authorization
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.influxdb_address import InfluxAddress
from joulebook.collector.store.influxdb_http import InfluxServer
from joulebook.collector.store.protocol import BeyondRetentionError, StoreError
from tests.servers.influxdb import RunningInflux, fronted, influxdb
from tests.servers.influxdb_answers import answers
from tests.simulated.delivery import books_of, decoded, deliver, total_uj
from tests.simulated.node import WALL_US, Load, SimulatedNode


@pytest.fixture(scope="session", params=["/write", "/api/v2/write"])
def either(
    request: pytest.FixtureRequest, influx: RunningInflux, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningInflux]:
    """The server as it is, written to by its own path, and as one of version 1.8, by influxdb-client."""
    with ExitStack() as also:
        own = request.param == "/write"
        yield influx if own else also.enter_context(fronted(tmp_path_factory.mktemp("nginx"), influx))


def _reports(node: SimulatedNode, count: int = 4) -> list[Decoded]:
    node.begin([Load("slurm.1", cpu_us=2_000_000, memory_bytes=1 << 30, user="ada l")])
    sent = []
    for _ in range(count):
        for _ in range(5):
            node.tick()
        sent.append(node.report())
    return decoded(node, sent)


def _run(*arguments: str, **environ: str) -> str:
    result = CliRunner().invoke(main, arguments, env={"JOULEBOOK_CONFIG": "/dev/null", **environ})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("1.0.2", "/write"),
        ("1.6.7~rc0", "/write"),
        ("1.7.11", "/write"),
        ("1.8.10", "/api/v2/write"),
        ("1.11.8", "/api/v2/write"),
        ("v2.7.1", "/api/v2/write"),
    ],
)
def test_the_version_decides(version: str, path: str) -> None:
    """Servers before 1.8 are written to by /write, later ones by /api/v2/write; it is asked for once."""
    with answers(version) as running:
        server = InfluxServer(InfluxAddress.parse(f"influxdb://127.0.0.1:{running.port}/energy"))
        for _ in range(2):
            server.write(b"node,node=a x=1i 1\n")
        assert server.writes_by() == f"InfluxDB {version}, written to by {path}"
        assert (running.paths, running.pings) == ({path}, 1)
        server.close()


def test_the_way_is_told(either: RunningInflux, caplog: pytest.LogCaptureFixture) -> None:
    """The log of who opens a store, `store setup` and `store check` say how it is written to, and why."""
    caplog.set_level("INFO")
    name = either.fresh()
    said = either.server(name).writes_by()
    assert said.endswith(("written to by /write", "InfluxDB 1.8.0, written to by /api/v2/write"))
    store = InfluxStore(name)
    assert f"store http://127.0.0.1:{either.port}: {said}" in caplog.messages
    deliver(store, [_reports(SimulatedNode())])
    store.close()
    for command in ("setup", "check"):
        assert _run("store", command, f"--store={name}").startswith(f"store {name}: {said}\n")
    assert _run("store", "check", f"--store={name}", "--json") == "[]\n"


def test_both_ways_write_the_same(influx: RunningInflux, either: RunningInflux) -> None:
    """What was written by one path is there by the other, and a repetition by the other changes nothing."""
    node = SimulatedNode()
    reports = _reports(node)
    name = either.fresh()
    store, beside = InfluxStore(name), InfluxStore(influx.address(name.rpartition("/")[2]))
    deliver(store, [reports[:3]])
    deliver(beside, [reports[1:]])
    deliver(store, [reports])
    assert books_of(store) == books_of(beside)
    assert total_uj(store) == node.measured_uj
    beside.close()
    store.close()


def test_type_conflict_names_field_and_types(either: RunningInflux) -> None:
    """A field that something else made a float is named, nothing is stored, and the next step is told."""
    address = either.fresh()
    server = either.server(address)
    server.write(f"domain,domain=cpu.0,node=n1 energy_uj=1.5 {WALL_US}\n".encode())
    store = InfluxStore(address)
    with pytest.raises(StoreError, match=r"field 'energy_uj' of 'domain' is float there, expected integer"):
        deliver(store, [_reports(SimulatedNode())])
    assert store.tails() == {}
    assert total_uj(store) == 0
    store.close()
    server.close()


def test_missing_database_and_policy(either: RunningInflux) -> None:
    """A database that is not there is named, with the command that makes it."""
    with pytest.raises(
        StoreError, match=r"database not found: nowhere; make it with `joulebook store setup`"
    ):
        InfluxStore(either.address("nowhere"))
    server = either.server(either.address("bare"))
    server.query("CREATE DATABASE bare")
    with pytest.raises(StoreError, match=r"retention policy not found: names; make it with"):
        InfluxStore(either.address("bare"))
    with pytest.raises(StoreError, match="database not found"):
        either.server(either.address("nowhere")).write(b"node,node=a x=1i 1\n")
    server.close()


def test_bad_line_and_partial_write(either: RunningInflux) -> None:
    """What the server did not take is told in its own words."""
    server = either.server(either.fresh())
    with pytest.raises(StoreError, match=r"400 unable to parse .*; nothing was acknowledged"):
        server.write(b"node,node=a broken 1\n")
    server.close()


def test_report_beyond_retention(either: RunningInflux) -> None:
    """A Report that is older than the database keeps is no fault of the store: it alone is refused."""
    address = either.address("short")
    _run("store", "setup", f"--store={address}", "--retention=24h")
    store = InfluxStore(address)
    with pytest.raises(BeyondRetentionError, match="older than the database keeps"):
        deliver(store, [_reports(SimulatedNode(wall_us=WALL_US - 10**13))])
    store.close()


@pytest.mark.parametrize("path", ["/write", "/api/v2/write"])
def test_credentials(tmp_path: Path, path: str) -> None:
    """A server that asks for user and password gets them from a file; without, or wrong, it is said."""
    secret, wrong, reader, token = (tmp_path / name for name in ("right", "wrong", "reader", "token"))
    secret.write_text("ada:s3cret: with a colon\n")
    wrong.write_text("ada:guessed\n")
    reader.write_text("bob:may read\n")
    token.write_text("t0p\n")
    with influxdb(tmp_path / "influxdb", auth=True) as direct, ExitStack() as also:
        running = direct if path == "/write" else also.enter_context(fronted(tmp_path / "nginx", direct))
        address = running.address("joulebook")
        admin = running.server(address)
        admin.query("CREATE USER ada WITH PASSWORD 's3cret: with a colon' WITH ALL PRIVILEGES")
        _run("store", "setup", f"--store={address}", JOULEBOOK__COLLECTOR__STORE_CREDENTIALS=str(secret))
        store = InfluxStore(address, credentials=str(secret))
        assert store._server.writes_by().endswith(f"written to by {path}")
        node = SimulatedNode()
        reports = _reports(node)
        deliver(store, [reports[:2]])
        for file in ("", str(wrong), str(token)):
            with pytest.raises(StoreError, match=r"401 .*; expected credentials in collector.store_credent"):
                InfluxStore(address, credentials=file)
            unknown = running.server(address, authorization(file))
            with pytest.raises(StoreError, match=r"401 .*expected .*, user:password of InfluxDB 1"):
                unknown.write(b"node,node=a x=1i 1\n")
            unknown.close()
        store._server.query("CREATE USER bob WITH PASSWORD 'may read'", "GRANT READ ON joulebook TO bob")
        reads = InfluxStore(address, credentials=str(reader))
        with pytest.raises(StoreError, match=r"403 .*bob.* not authorized to write .*; expected credentials"):
            deliver(reads, [reports])
        deliver(store, [reports])
        assert total_uj(store) == total_uj(reads) == node.measured_uj
        reads.close()
        store.close()
        admin.close()


def test_writes_are_compressed_or_not(either: RunningInflux) -> None:
    """The same is stored with and without compression."""
    nodes = []
    for compress in (True, False):
        store = InfluxStore(either.fresh(), compress=compress)
        nodes.append(SimulatedNode())
        deliver(store, [_reports(nodes[-1])])
        assert total_uj(store) == nodes[-1].measured_uj
        store.close()
