"""Ceph's daemons and clients, by their admin sockets; and the real daemons."""

import contextlib
import json
import os
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.asked import is_timeout
from joulebook.agent.source import UNREADABLE
from joulebook.agent.usage.beside import Answered, Beside, UnreadError
from joulebook.agent.usage.ceph import CephConfig, CephDaemons, perf_dump, told_of
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.servers.admin_socket import Answer, admin_socket
from tests.servers.ceph import ceph
from tests.simulated.garbage import ANY, spoilt, spoilt_bytes

_OSD = Path(__file__).parents[2] / "fixtures/ceph/osd.json"


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory with a short name: the path of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="jb-") as name:
        yield Path(name)


def _says(data: bytes) -> Answer:
    return lambda connection: connection.sendall(struct.pack(">I", len(data)) + data)


def test_an_osd(directory: Path) -> None:
    """Bytes, requests, their time and capacity of an OSD's own dump; the command is JSON ended by a zero."""
    with admin_socket(directory / "ceph-osd.0.asok", _says(_OSD.read_bytes())) as commands:
        daemons = CephDaemons(CephConfig(sockets=str(directory), timeout_s=60))
        assert daemons.is_there()
        (told,) = daemons.ask().told
    assert commands == [b'{"prefix": "perf dump"}\0']
    assert (told.device.name, told.device.kind) == ("ceph.osd.0", report_pb2.DEVICE_KIND_STORAGE_DAEMON)
    osd = msgspec.json.decode(_OSD.read_bytes())["osd"]
    assert told.values == {
        m.METRIC_DEVICE_SERVED_READ: osd["op_out_bytes"],
        m.METRIC_DEVICE_SERVED_WRITTEN: osd["op_in_bytes"],
        m.METRIC_DEVICE_SERVED_OPERATIONS: osd["op"],
        m.METRIC_DEVICE_SERVED_WAIT: int(osd["op_latency"]["sum"] * 1e6),
        m.METRIC_DEVICE_SERVED_COPIED: osd["subop_in_bytes"] + osd["recovery_bytes"],
        m.METRIC_DEVICE_CAPACITY: osd["stat_bytes"],
        m.METRIC_DEVICE_CAPACITY_USED: osd["stat_bytes_used"],
    }


@pytest.mark.parametrize(
    ("name", "dump", "device", "values"),
    [
        (
            "mds.a",
            {"mds": {"reply": 5, "reply_latency": {"avgcount": 5, "sum": 0.25}}},
            "ceph.mds.a",
            {m.METRIC_DEVICE_SERVED_OPERATIONS: 5, m.METRIC_DEVICE_SERVED_WAIT: 250_000},
        ),
        (
            "mon.a",
            {"paxos": {"commit": 7, "commit_latency": {"sum": 0.5}}},
            "ceph.mon.a",
            {m.METRIC_DEVICE_SERVED_OPERATIONS: 7, m.METRIC_DEVICE_SERVED_WAIT: 500_000},
        ),
        (
            "client.rgw.x",
            {"rgw": {"req": 9, "get_b": 100, "put_b": 50}, "objecter": {"op_reply": 3}},
            "ceph.client.rgw.x",
            {
                m.METRIC_DEVICE_SERVED_READ: 100,
                m.METRIC_DEVICE_SERVED_WRITTEN: 50,
                m.METRIC_DEVICE_SERVED_OPERATIONS: 9,
            },
        ),
        (
            "client.libvirt.42",
            {
                "librbd-1a2b-vms-disk0": {
                    "rd": 2,
                    "wr": 3,
                    "rd_bytes": 8,
                    "wr_bytes": 9,
                    "rd_latency": {"sum": 1},
                }
            },
            "rbd:1a2b-vms-disk0",
            {
                m.METRIC_DEVICE_FS_READ: 8,
                m.METRIC_DEVICE_FS_WRITTEN: 9,
                m.METRIC_DEVICE_FS_OPERATIONS: 5,
                m.METRIC_DEVICE_FS_WAIT: 1_000_000,
            },
        ),
        (
            "client.admin.7",
            {"objecter": {"op_reply": 3, "op_send_bytes": 4}},
            "ceph:client.admin.7",
            {m.METRIC_DEVICE_FS_OPERATIONS: 3, m.METRIC_DEVICE_FS_WRITTEN: 4},
        ),
    ],
)
def test_daemons_and_clients(
    name: str, dump: dict[str, Any], device: str, values: dict[m.Metric.ValueType, int]
) -> None:
    """Each is known by what its dump has; what it keeps of others' requests is not its own."""
    ((told),) = told_of(name, dump)
    assert (told.device.name, told.values) == (device, values)


def test_a_dump_of_nothing_known_is_no_device() -> None:
    """A manager has nothing of storage."""
    assert told_of("mgr.x", {"mgr": {"cache_hit": 1}}) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _: None, "ended after 0 of 4"),
        (lambda connection: connection.sendall(b"\0\0\1\0{"), "ended after 1 of 256"),
        (lambda connection: connection.sendall(b"\xff\xff\xff\xff" + b"x" * 1000), "expected at most"),
        (_says(b""), "no JSON"),
        (_says(b"\xff\xfe\x00"), "no JSON"),
        (_says(b"[" * 100_000), "no JSON"),
        (_says(b"[1, 2]"), "expected an object"),
        (_says(b'{"osd": {"op": -5}}'), "expected a whole number"),
        (_says(b'{"osd": {"op": "many"}}'), "expected a whole number"),
        (_says(b'{"osd": {"op": 1, "op_latency": {"sum": 1e300}}}'), "expected seconds"),
    ],
)
def test_a_daemon_that_answers_wrongly_is_named_and_leaves_the_others(
    directory: Path, answer: Answer, reason: str
) -> None:
    """Cut, huge, binary, deep and senseless answers are told of; the daemon beside it is read."""
    good = _says(b'{"osd": {"op": 1}}')
    with (
        admin_socket(directory / "ceph-osd.0.asok", answer),
        admin_socket(directory / "fsid/ceph-osd.1.asok", good),
    ):
        answered = CephDaemons(CephConfig(sockets=str(directory), timeout_s=60)).ask()
    assert [told.device.name for told in answered.told] == ["ceph.osd.1"]
    ((name, said, _, timed_out),) = answered.unread
    assert name == "osd.0"
    assert reason in said
    assert not timed_out


def test_a_daemon_that_hangs_costs_its_time_out_and_no_more(directory: Path) -> None:
    """One that accepts and says nothing is given up, and is the reason where there is no other."""
    let = threading.Event()

    def hang(_: socket.socket) -> None:
        let.wait(60)

    with admin_socket(directory / "ceph-osd.0.asok", hang):
        daemons = CephDaemons(CephConfig(sockets=str(directory), timeout_s=0.05))
        with pytest.raises(OSError, match=r"osd\.0: no answer within 0\.05 s") as silent:
            daemons.ask()
        let.set()
    assert is_timeout(silent.value)


def test_a_socket_that_nobody_serves_is_a_daemon_that_ended(directory: Path) -> None:
    """What a client left behind is no trouble, nor is a daemon's beside one that serves; alone it is told."""
    for name in ("ceph-client.admin.7.asok", "ceph-osd.3.asok"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(str(directory / name))
    daemons = CephDaemons(CephConfig(sockets=str(directory), timeout_s=60))
    with pytest.raises(UnreadError, match=r"^osd\.3: nobody serves its admin socket$") as silent:
        daemons.ask()
    assert str(directory / "ceph-osd.3.asok") in silent.value.fix
    with admin_socket(directory / "fsid/ceph-osd.1.asok", _says(b'{"osd": {"op": 1}}')):
        answered = daemons.ask()
    assert ([told.device.name for told in answered.told], answered.unread) == (["ceph.osd.1"], ())
    for path in directory.glob("**/ceph-osd.*.asok"):
        path.unlink()
    assert daemons.ask() == Answered(())
    assert not CephDaemons(CephConfig(sockets=str(directory / "absent"))).is_there()


def test_sockets_that_may_not_be_seen_say_what_to_do(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory of user ceph that the agent may not read is not taken for an empty one."""

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    source = Beside(
        CephDaemons(CephConfig(sockets=str(directory))), period_us=1, timeout_us=60_000_000, patience_s=60
    )
    (finding,) = source.probe().findings
    source.close()
    assert finding.state == UNREADABLE
    assert "Permission denied" in finding.reason
    assert "user ceph" in finding.fix


def test_the_configuration_is_checked() -> None:
    """Wrong values are named, with what is expected."""
    assert CephConfig().errors() == []
    assert [error.split(" = ")[0] for error in CephConfig(sockets="run", timeout_s=0).errors()] == [
        "agent.ceph.sockets",
        "agent.ceph.timeout_s",
    ]


def test_a_real_osd() -> None:
    """The real daemon counts bytes exactly, is given up while it is stopped, and is there again after."""
    with ceph() as cluster:
        daemons = CephDaemons(CephConfig(sockets=str(cluster.directory), timeout_s=60))

        def osd() -> dict[m.Metric.ValueType, int]:
            by_name = {told.device.name: told.values for told in daemons.ask().told}
            assert set(by_name) == {"ceph.osd.0", "ceph.mon.a"}
            assert by_name["ceph.mon.a"][m.METRIC_DEVICE_SERVED_OPERATIONS] > 0
            return by_name["ceph.osd.0"]

        before = osd()
        cluster.put("thing", b"x" * 1_000_000)
        written = osd()
        assert written[m.METRIC_DEVICE_SERVED_WRITTEN] - before[m.METRIC_DEVICE_SERVED_WRITTEN] == 1_000_000
        assert cluster.get("thing") == b"x" * 1_000_000
        read = osd()
        assert read[m.METRIC_DEVICE_SERVED_READ] - written[m.METRIC_DEVICE_SERVED_READ] == 1_000_000
        assert read[m.METRIC_DEVICE_SERVED_OPERATIONS] >= before[m.METRIC_DEVICE_SERVED_OPERATIONS] + 2
        assert read[m.METRIC_DEVICE_SERVED_WAIT] > before[m.METRIC_DEVICE_SERVED_WAIT]
        assert 0 < read[m.METRIC_DEVICE_CAPACITY_USED] < read[m.METRIC_DEVICE_CAPACITY]

        os.kill(cluster.osd_pid, signal.SIGSTOP)
        (path,) = cluster.directory.glob("*osd.0.asok")
        with pytest.raises(TimeoutError):
            perf_dump(path, 0.05)
        os.kill(cluster.osd_pid, signal.SIGCONT)
        assert osd()[m.METRIC_DEVICE_SERVED_OPERATIONS] >= read[m.METRIC_DEVICE_SERVED_OPERATIONS]


@given(said=spoilt(json.loads(_OSD.read_bytes())) | ANY)
def test_a_spoilt_dump_is_told_or_refused(said: Any) -> None:
    """Whatever stands where counters should, a dump ends in whole numbers or a ValueError."""
    dump = said if isinstance(said, dict) else {"osd": said}
    with contextlib.suppress(ValueError):
        for told in told_of("osd.0", dump):
            assert all(type(value) is int and value >= 0 for value in told.values.values())


@settings(max_examples=40)
@given(said=spoilt_bytes(b"\0\0\0\x1b" + b'{"osd": {"op_in_bytes": 7}}') | st.binary(max_size=40))
def test_what_is_no_dump_is_a_daemon_unread(said: bytes) -> None:
    """Whatever bytes a socket gives, an OSError or a ValueError comes of it, or an object."""
    with tempfile.TemporaryDirectory(prefix="jb-") as name:
        path = Path(name, "ceph-osd.0.asok")
        with (
            admin_socket(path, lambda connection: connection.sendall(said)),
            contextlib.suppress(OSError, ValueError),
        ):
            assert isinstance(perf_dump(path, 60), dict)
