"""Read HDFS: the beans that a DataNode or NameNode shows at /jmx over HTTP (Hadoop's Metrics page)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from joulebook.agent.asked import is_timeout
from joulebook.agent.source import Device, Metric
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.beside import Answered, Told, Unread, answered, device_name
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2

_DATANODE, _NAMENODE = "Hadoop:service=DataNode,name=", "Hadoop:service=NameNode,name="
_BLOCK_OPERATIONS = ("ReadBlockOp", "WriteBlockOp", "CopyBlockOp", "ReplaceBlockOp", "BlockChecksumOp")
_FIX_ANSWER = "name the web page of a DataNode or NameNode (agent.hdfs.urls)"
FACTS = SourceFacts(
    name="hdfs",
    what="of a DataNode the bytes read and written, block operations and their time, capacity; of a NameNode"
    " its requests, their bytes",
    where="`/jmx` over HTTP or HTTPS, `agent.hdfs.urls`",
    unit="bytes, operations, ms",
    period="10 s, beside the tick",
    accuracy="exact, as the daemon counts",
    privilege="none; a cluster with Kerberos at its web pages is not read",
    cost="beside the tick; p50 2.8 ms, p99 4.4 ms a daemon (recorded answers), of the agent's "
    "own CPU 1.7 ms, by https 2.9 ms",
    documentation="hadoop.apache.org: Metrics (datanode, FSDatasetState, rpc)",
)


class HdfsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.hdfs] of the configuration."""

    # Where DataNode and NameNode of this node show their web pages: ["http://127.0.0.1:9864"].
    urls: list[str] = msgspec.field(default_factory=list)
    # PEM file of the authority that signed their certificates; empty: the system's.
    tls_ca: str = ""
    # How long one daemon may take to answer.
    timeout_s: float = 5.0

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = []
        for url in self.urls:
            try:
                parts = urlsplit(url)
                is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            except ValueError:
                is_url = False
            if not is_url:
                wrong.append(f"agent.hdfs.urls has {url!r}: expected as http://127.0.0.1:9864")
        if self.tls_ca and not Path(self.tls_ca).is_file():
            wrong.append(f"agent.hdfs.tls_ca = {self.tls_ca!r}: no such file")
        if not 0.01 <= self.timeout_s <= 60:
            wrong.append(f"agent.hdfs.timeout_s = {self.timeout_s}: expected 0.01 to 60")
        return wrong


class HdfsDaemons:
    """Ask the DataNode and the NameNode that are configured."""

    name = "hdfs"
    absent = "agent.hdfs.urls names no DataNode or NameNode"

    def __init__(self, config: HdfsConfig) -> None:
        self._config = config

    def is_there(self) -> bool:
        """Say whether any is configured."""
        return bool(self._config.urls)

    def ask(self) -> Answered:
        """Ask each; one that does not answer leaves the others alone."""
        from joulebook.agent.usage.jmx import fetch_beans  # noqa: PLC0415  # HTTP and TLS, where they are needed

        told: list[Told] = []
        unread: list[Unread] = []
        for url in self._config.urls:
            try:
                told += told_of(url, fetch_beans(url, self._config.timeout_s, self._config.tls_ca))
            except (OSError, ValueError) as error:
                fix = getattr(error, "fix", _FIX_ANSWER)
                unread.append(Unread(url, str(error), fix, timed_out=is_timeout(error)))
        return answered(told, unread)


def told_of(url: str, beans: Sequence[Mapping[str, Any]]) -> list[Told]:
    """Tell what a daemon counted, by the beans that it has."""
    where = urlsplit(url).netloc.rpartition("@")[2]
    by_name = {str(bean["name"]): bean for bean in beans}
    activity = [bean for name, bean in by_name.items() if name.startswith(_DATANODE + "DataNodeActivity")]
    if activity:
        values: dict[Metric, int] = {
            m.METRIC_DEVICE_SERVED_READ: sum(_number(bean, "BytesRead") for bean in activity),
            m.METRIC_DEVICE_SERVED_WRITTEN: sum(_number(bean, "BytesWritten") for bean in activity),
            m.METRIC_DEVICE_SERVED_OPERATIONS: sum(
                _number(bean, f"{operation}NumOps") for bean in activity for operation in _BLOCK_OPERATIONS
            ),
            m.METRIC_DEVICE_SERVED_WAIT: sum(
                _number(bean, "TotalReadTime") + _number(bean, "TotalWriteTime") for bean in activity
            )
            * 1000,
        }
        for name, bean in by_name.items():
            if name.startswith(_DATANODE + "FSDatasetState"):
                values[m.METRIC_DEVICE_CAPACITY] = _number(bean, "Capacity")
                values[m.METRIC_DEVICE_CAPACITY_USED] = _number(bean, "DfsUsed")
        return [_told("datanode", where, values)]
    calls = [bean for name, bean in by_name.items() if name.startswith(_NAMENODE + "RpcActivityForPort")]
    if calls:
        return [
            _told(
                "namenode",
                where,
                {
                    m.METRIC_DEVICE_SERVED_READ: sum(_number(bean, "SentBytes") for bean in calls),
                    m.METRIC_DEVICE_SERVED_WRITTEN: sum(_number(bean, "ReceivedBytes") for bean in calls),
                    m.METRIC_DEVICE_SERVED_OPERATIONS: sum(
                        _number(bean, "RpcProcessingTimeNumOps") for bean in calls
                    ),
                },
            )
        ]
    raise ValueError("neither a DataNode's nor a NameNode's beans")


def _told(kind: str, where: str, values: dict[Metric, int]) -> Told:
    return Told(Device(device_name(f"hdfs.{kind}.{where}"), report_pb2.DEVICE_KIND_STORAGE_DAEMON), values)


def _number(bean: Mapping[str, Any], name: str) -> int:
    """Return a counter; ValueError where it is none. Not every version has each: 0."""
    value = bean.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} is {str(value)[:40]!r}, expected a whole number, 0 or more")
    return value
