"""Read Ceph's daemons and its clients in user space: perf dump over their admin sockets.

docs.ceph.com, "Perf counters": a command in JSON ended by a zero byte; an answer of its length in four bytes,
and JSON.
"""

import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from joulebook.agent.source import Device, Metric
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.beside import Answered, Told, Unread, answered, device_name
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2

_COMMAND = b'{"prefix": "perf dump"}\0'
_MOST_BYTES = 16 << 20
_ENDED = "nobody serves its admin socket"
_FIX_ENDED = "start the daemon, or remove what it left: {path}"
_FIX_SILENT = "look into the daemon's log; restart it if it hangs"
_IMAGE = re.compile(r"librbd-(.+)")
_SERVES = report_pb2.DEVICE_KIND_STORAGE_DAEMON
_USES = report_pb2.DEVICE_KIND_NETWORK_STORAGE
FACTS = SourceFacts(
    name="ceph",
    what="of each OSD the bytes, requests and their time, bytes from other OSDs, capacity; of MDS, monitors"
    " and RADOS gateways their requests; of clients in user space (librbd, libcephfs) their images' IO",
    where="admin sockets, `agent.ceph.sockets`, `perf dump`",
    unit="bytes, requests, s",
    period="10 s, beside the tick",
    accuracy="exact, as the daemon counts",
    privilege="root, user `ceph`, or `CAP_DAC_OVERRIDE` (to connect is to write to the socket)",
    cost="beside the tick; p50 1.7 ms, p99 3.4 ms for 2 daemons, of the agent's own CPU 1.0 ms",
    documentation="docs.ceph.com: Perf counters; src/common/admin_socket.cc",
)


class CephConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.ceph] of the configuration."""

    # Directory of the daemons' admin sockets; sockets in directories in it are found too (cephadm).
    sockets: str = "/run/ceph"
    # How long one daemon may take to answer.
    timeout_s: float = 2.0

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = []
        if not Path(self.sockets).is_absolute():
            wrong.append(f"agent.ceph.sockets = {self.sockets!r}: expected an absolute path")
        if not 0.01 <= self.timeout_s <= 60:
            wrong.append(f"agent.ceph.timeout_s = {self.timeout_s}: expected 0.01 to 60")
        return wrong


class CephDaemons:
    """Ask every admin socket."""

    name = "ceph"
    absent = "no admin socket"

    def __init__(self, config: CephConfig) -> None:
        self._directory = Path(config.sockets)
        self._timeout_s = config.timeout_s
        self.absent = f"no admin socket in {config.sockets} (agent.ceph.sockets)"

    def is_there(self) -> bool:
        """Say whether there is a socket. PermissionError where the directory may not be read."""
        return bool(self._sockets())

    def ask(self) -> Answered:
        """Ask all daemons, one after another; one that does not answer leaves the others alone."""
        told: list[Told] = []
        unread: list[Unread] = []
        ended: list[Unread] = []
        try:
            paths = self._sockets()
        except PermissionError as error:
            raise _UnreadableError(str(error)) from None
        for path in paths:
            name = path.name.removesuffix(".asok").removeprefix("ceph-")
            try:
                told += told_of(name, perf_dump(path, self._timeout_s))
            except (ConnectionRefusedError, FileNotFoundError):
                # The daemon has ended; its socket is swept when it begins again. What a client left, is not.
                if "client" not in name:
                    ended.append(Unread(name, _ENDED, _FIX_ENDED.format(path=path)))
            except PermissionError as error:
                raise _UnreadableError(f"{path}: {error.strerror}") from None
            except TimeoutError:
                unread.append(
                    Unread(name, f"no answer within {self._timeout_s:g} s", _FIX_SILENT, timed_out=True)
                )
            except (OSError, ValueError) as error:
                unread.append(Unread(name, str(error) or type(error).__name__, _FIX_SILENT))
        # Beside daemons that serve, one that ended is no trouble.
        return answered(told, unread if told else unread + ended)

    def _sockets(self) -> list[Path]:
        # glob() would pass over a directory that may not be read, as if it were empty.
        try:
            entries = sorted(self._directory.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(
            path
            for entry in entries
            for path in ([entry] if entry.suffix == ".asok" else entry.glob("*.asok"))
        )


class _UnreadableError(OSError):
    # To connect is to write, and the sockets are their owner's to write: reading rights do not do.
    fix = "give the agent CAP_DAC_OVERRIDE (deploy/systemd/ceph.conf), or run it as root or as user ceph"


def perf_dump(path: Path, timeout_s: float) -> Mapping[str, Any]:
    """Ask an admin socket for its performance counters."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
        connection.sendall(_COMMAND)
        (length,) = struct.unpack(">I", _receive(connection, 4))
        if length > _MOST_BYTES:
            raise ValueError(f"an answer of {length} bytes, expected at most {_MOST_BYTES}")
        data = _receive(connection, length)
    try:
        dump = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"perf dump is no JSON: {error}") from None
    if not isinstance(dump, dict):
        raise ValueError(f"perf dump is a {type(dump).__name__}, expected an object")
    return dump


def _receive(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        if not (part := connection.recv(min(length - len(data), 1 << 20))):
            raise ValueError(f"the answer ended after {len(data)} of {length} bytes")
        data += part
    return bytes(data)


def told_of(name: str, dump: Mapping[str, Any]) -> list[Told]:
    """Tell what a daemon or a client counted, by what its dump has."""
    daemon: dict[Metric, int] = {}
    if osd := _section(dump, "osd"):
        daemon = {
            m.METRIC_DEVICE_SERVED_READ: _number(osd, "op_out_bytes"),
            m.METRIC_DEVICE_SERVED_WRITTEN: _number(osd, "op_in_bytes"),
            m.METRIC_DEVICE_SERVED_OPERATIONS: _number(osd, "op"),
            m.METRIC_DEVICE_SERVED_WAIT: _sum_us(osd, "op_latency"),
            m.METRIC_DEVICE_SERVED_COPIED: _number(osd, "subop_in_bytes") + _number(osd, "recovery_bytes"),
            m.METRIC_DEVICE_CAPACITY: _number(osd, "stat_bytes"),
            m.METRIC_DEVICE_CAPACITY_USED: _number(osd, "stat_bytes_used"),
        }
    elif mds := _section(dump, "mds"):
        daemon = {
            m.METRIC_DEVICE_SERVED_OPERATIONS: _number(mds, "reply"),
            m.METRIC_DEVICE_SERVED_WAIT: _sum_us(mds, "reply_latency"),
        }
    elif gateway := _section(dump, "rgw"):
        daemon = {
            m.METRIC_DEVICE_SERVED_READ: _number(gateway, "get_b"),
            m.METRIC_DEVICE_SERVED_WRITTEN: _number(gateway, "put_b"),
            m.METRIC_DEVICE_SERVED_OPERATIONS: _number(gateway, "req"),
        }
    elif paxos := _section(dump, "paxos"):
        daemon = {
            m.METRIC_DEVICE_SERVED_OPERATIONS: _number(paxos, "commit"),
            m.METRIC_DEVICE_SERVED_WAIT: _sum_us(paxos, "commit_latency"),
        }
    if daemon:
        return [Told(Device(device_name(f"ceph.{name}"), _SERVES), daemon)]
    images = [
        _image(match[1], _section(dump, key)) for key in sorted(dump) if (match := _IMAGE.fullmatch(key))
    ]
    if images:
        return images
    objecter = _section(dump, "objecter")
    if "client" in name and objecter:
        values: dict[Metric, int] = {
            m.METRIC_DEVICE_FS_OPERATIONS: _number(objecter, "op_reply"),
            m.METRIC_DEVICE_FS_WRITTEN: _number(objecter, "op_send_bytes"),
        }
        return [Told(Device(device_name(f"ceph:{name}"), _USES), values)]
    return []


def _image(name: str, image: Mapping[str, Any]) -> Told:
    values: dict[Metric, int] = {
        m.METRIC_DEVICE_FS_READ: _number(image, "rd_bytes"),
        m.METRIC_DEVICE_FS_WRITTEN: _number(image, "wr_bytes"),
        m.METRIC_DEVICE_FS_OPERATIONS: _number(image, "rd") + _number(image, "wr"),
        m.METRIC_DEVICE_FS_WAIT: _sum_us(image, "rd_latency") + _sum_us(image, "wr_latency"),
    }
    return Told(Device(device_name(f"rbd:{name}"), _USES), values)


def _section(dump: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = dump.get(name)
    return section if isinstance(section, dict) else {}


def _number(section: Mapping[str, Any], name: str) -> int:
    """Return a counter; ValueError where it is none. Not every version has each: 0."""
    value = section.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} is {str(value)[:40]!r}, expected a whole number, 0 or more")
    return value


def _sum_us(section: Mapping[str, Any], name: str) -> int:
    """Return the µs of {"avgcount": n, "sum": seconds}; not every version has each: 0."""
    pair = section.get(name)
    seconds = pair.get("sum", 0) if isinstance(pair, dict) else 0
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e13:
        raise ValueError(f"{name}.sum is {str(seconds)[:40]!r}, expected seconds, 0 or more")
    return int(seconds * 1e6)
