"""How often sources were asked in vain, as the agent's Reports and the doctor tell it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.agent.doctor import examine
from joulebook.agent.meters.node_config import RedfishConfig
from joulebook.agent.settings import SourceSettings
from joulebook.agent.source import ABSENT, WORKING
from joulebook.agent.sources import Sources, probe_sources
from joulebook.agent.usage.asks import METRICS, AskUsage
from joulebook.agent.usage.hdfs import HdfsConfig
from joulebook.v1 import report_pb2
from tests.fixtures.trees import build

LONG_S = 60.0


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    """Yield a node whose BMC and DataNode are not there, each asked once."""
    # A port that nobody has: it is bound, and not listened at.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        settings = SourceSettings(
            redfish=RedfishConfig(url=f"https://127.0.0.1:{port}"),
            hdfs=HdfsConfig(urls=[f"http://127.0.0.1:{port}"]),
        )
        sources = probe_sources(build("vm", tmp_path), settings, patience_s=LONG_S)
        yield sources
        sources.close()


def _asks(sources: Sources) -> AskUsage:
    (found,) = [source for source, _ in sources.probed if isinstance(source, AskUsage)]
    return found


def test_refusals_are_series_of_the_source_that_was_asked(sources: Sources) -> None:
    """Each source that asks is a device with its three counts; one BMC that two meters share counts once."""
    asks = _asks(sources)
    probe = asks.changed() or asks.probe()
    assert {device.kind for device in probe.devices} == {report_pb2.DEVICE_KIND_SOURCE}
    values = iter(asks.read(0))
    found = {device.name: tuple(next(values) for _ in METRICS) for device in probe.devices}
    assert found["source.redfish"] == found["source.hdfs"] == (1, 1, 0)
    assert asks.changed() is None


def test_the_doctor_tells_how_often(sources: Sources) -> None:
    """Beside a source's state stands how often it was asked, refused and was silent."""
    rows = {row["name"]: row for row in examine(sources, (), report_pb2.Host(), "n1")["sources"]}
    assert rows["hdfs"]["asked"]["refused"] == rows["hdfs"]["asked"]["count"] > 0
    assert rows["hdfs"]["asked"]["timed_out"] == 0
    assert rows["memory"]["asked"] is None


def test_where_nothing_is_asked_there_is_nothing() -> None:
    """A node without anything to ask has no such device."""
    asks = AskUsage([object()])
    probe = asks.probe()
    assert (probe.series, [f.state for f in probe.findings]) == ((), [ABSENT])
    assert (list(asks.read(0)), asks.changed()) == ([], None)
    assert WORKING not in [f.state for f in probe.findings]
