"""HDFS: recorded documents, served over real HTTP and HTTPS on loopback."""

import contextlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.asked import is_timeout
from joulebook.agent.usage.hdfs import HdfsConfig, HdfsDaemons, told_of
from joulebook.agent.usage.jmx import parse_beans
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.servers.jmx import Handle, recorded, says, serving
from tests.simulated.garbage import ANY, spoilt, spoilt_bytes


def test_a_datanode_and_a_namenode() -> None:
    """Bytes, operations, their time and capacity of a DataNode; requests and their bytes of a NameNode."""
    with serving(recorded("datanode")) as data, serving(recorded("namenode")) as names:
        daemons = HdfsDaemons(HdfsConfig(urls=[data, f"{names}/"], timeout_s=60))
        assert daemons.is_there()
        first, second = daemons.ask().told
    assert first.device.name == f"hdfs.datanode.{data.removeprefix('http://')}"
    assert first.device.kind == report_pb2.DEVICE_KIND_STORAGE_DAEMON
    assert first.values == {
        m.METRIC_DEVICE_SERVED_READ: 9_183_746_251_776,
        m.METRIC_DEVICE_SERVED_WRITTEN: 1_873_642_210_304,
        m.METRIC_DEVICE_SERVED_OPERATIONS: 981_231 + 14_231 + 17 + 2 + 5,
        m.METRIC_DEVICE_SERVED_WAIT: (91_837_412 + 183_741_233) * 1000,
        m.METRIC_DEVICE_CAPACITY: 7_984_113_688_576,
        m.METRIC_DEVICE_CAPACITY_USED: 2_961_543_069_696,
    }
    assert second.device.name.startswith("hdfs.namenode.")
    assert second.values == {
        m.METRIC_DEVICE_SERVED_READ: 182_314_311,
        m.METRIC_DEVICE_SERVED_WRITTEN: 98_232_231,
        m.METRIC_DEVICE_SERVED_OPERATIONS: 912_320,
    }


@pytest.mark.parametrize(
    ("handle", "reason"),
    [
        (says(b"gone", 500), "500"),
        (says(b"", 302, Location="http://127.0.0.1:1/"), "302"),
        (says(b""), "no JSON"),
        (says(b"\xff\x00"), "no JSON"),
        (says(b"[" * 100_000), "no JSON"),
        (says(b"{}"), "no beans"),
        (says(b'{"beans": [1, {"name": 5}, {"name": "java.lang:type=Memory"}]}'), "neither"),
        (says(b'{"beans": [{"name": "' + b"x" * (17 << 20) + b'"}]}'), "more than"),
        (lambda request: request.wfile.write(b"\x00\x01 garbage\r\n\r\n"), "no HTTP"),
    ],
)
def test_an_answer_that_is_none_is_named_and_leaves_the_other(handle: Handle, reason: str) -> None:
    """Errors, redirects, garbage and floods are told of with the URL; the daemon beside it is read."""
    with serving(handle) as bad, serving(recorded("datanode")) as good:
        answered = HdfsDaemons(HdfsConfig(urls=[bad, good], timeout_s=60)).ask()
    assert len(answered.told) == 1
    ((url, said, _, timed_out),) = answered.unread
    assert url == bad
    assert reason in said
    assert not timed_out


def test_one_that_hangs_is_given_up() -> None:
    """A daemon that accepts and says nothing costs its time-out; alone, that is the source's reason."""
    let = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        let.wait(60)

    with serving(hang) as url:
        with pytest.raises(OSError, match="no answer within") as silent:
            HdfsDaemons(HdfsConfig(urls=[url], timeout_s=0.05)).ask()
        let.set()
    with pytest.raises(OSError, match="refused") as refused:
        HdfsDaemons(HdfsConfig(urls=[url], timeout_s=60)).ask()
    assert [is_timeout(each.value) for each in (silent, refused)] == [True, False]


def test_certificates_are_checked(tmp_path: Path) -> None:
    """With its authority a daemon over HTTPS is read; with another it is not."""
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    with serving(recorded("datanode"), context) as url:
        right, wrong = (
            HdfsDaemons(HdfsConfig(urls=[url], tls_ca=str(tmp_path / name), timeout_s=60))
            for name in ("ca.pem", "other.pem")
        )
        assert len(right.ask().told) == 1
        with pytest.raises(OSError, match="certificate not accepted"):
            wrong.ask()
        # A file that is mended is read anew.
        (tmp_path / "other.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
        assert len(wrong.ask().told) == 1


@pytest.mark.parametrize("value", [-1, "many", 1.5, True, None, [1]])
def test_counters_that_are_none_are_refused(value: object) -> None:
    """A bean whose counter is no whole number is not taken for 0."""
    bean = {"name": "Hadoop:service=DataNode,name=DataNodeActivity-x", "BytesRead": value}
    with pytest.raises(ValueError, match="BytesRead"):
        told_of("http://x:1", [bean])


def test_beans_without_a_name_are_left_out() -> None:
    """Only what is named can be known."""
    assert parse_beans(b'{"beans": [{"a": 1}, {"name": "x", "b": 2}]}') == [{"name": "x", "b": 2}]


def test_the_configuration_is_checked() -> None:
    """Wrong values are named, with what is expected; nothing configured is nothing to ask."""
    assert HdfsConfig().errors() == []
    assert not HdfsDaemons(HdfsConfig()).is_there()
    config = HdfsConfig(urls=["localhost:9864", "http://[", "ftp://x"], tls_ca="/absent", timeout_s=100)
    assert len(config.errors()) == 5


_DATANODE = json.loads((Path(__file__).parents[2] / "fixtures/hdfs/datanode.json").read_bytes())


@given(said=spoilt(_DATANODE) | ANY)
def test_spoilt_beans_are_told_or_refused(said: Any) -> None:
    """Whatever stands in a document, it ends in whole numbers or a ValueError."""
    with contextlib.suppress(ValueError):
        for told in told_of("http://h:1", parse_beans(json.dumps(said).encode())):
            assert all(type(value) is int and value >= 0 for value in told.values.values())


@given(said=spoilt_bytes(json.dumps(_DATANODE["beans"][:2]).encode()) | st.binary(max_size=60))
def test_bytes_that_are_no_beans_are_refused(said: bytes) -> None:
    """Whatever bytes come for a document, they are beans or a ValueError."""
    with contextlib.suppress(ValueError):
        assert all(isinstance(bean["name"], str) for bean in parse_beans(said))
