"""Read InfiniBand and RoCE ports: /sys/class/infiniband/*/ports/*.

Documentation/ABI/stable/sysfs-class-infiniband. Each counter is a question to the adapter's firmware, which
takes tens of µs and may hang: asked beside the tick.
"""

import re
from pathlib import Path

from joulebook.agent.mending import fix_of
from joulebook.agent.source import Device, Metric, Roots
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.beside import Answered, Told, Unread, device_name
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2

# "port data counters divided by 4": they count lanes of four bytes.
_LANES = 4
_RATE = re.compile(rb"\s*([0-9]+)(?:\.([0-9]))? Gb/sec")
_ERRORS = ("port_rcv_errors", "port_xmit_discards", "symbol_error", "link_downed")
# Of RoCE, each driver's names.
_RETRANSMISSIONS = (
    "out_of_sequence",
    "packet_seq_err",
    "local_ack_timeout_err",
    "retrans_pkts",
    "to_retransmits",
)
FACTS = SourceFacts(
    name="infiniband",
    what="bytes, packets, errors, waits, link state and rate of each InfiniBand or RoCE port; under RoCE the"
    " RDMA traffic alone, which the interface's own counters do not have",
    where="`/sys/class/infiniband/*/ports/*/{counters,hw_counters,state,rate}`",
    unit="4 bytes, packets",
    period="1 s, beside the tick",
    accuracy="exact",
    privilege="none",
    cost="beside the tick; p50 0.7 ms, p99 1.2 ms for 3 ports (files of a fixture), plus the "
    "firmware's answer",
    documentation="Documentation/ABI/stable/sysfs-class-infiniband; IBTA vol. 1, PortCountersExtended",
)


def parse_rate(data: bytes) -> int:
    """Parse a port's rate, "100 Gb/sec (4X EDR)", into bytes a second."""
    match = _RATE.match(data)
    if match is None:
        raise ValueError(f"rate {data[:40]!r}: expected as 100 Gb/sec")
    tenths = int(match[1]) * 10 + int(match[2] or 0)
    return tenths * 100_000_000 // 8


def parse_state(data: bytes) -> int:
    """Parse a port's state, "4: ACTIVE", into 1 where it is active, else 0."""
    number, _, _ = data.partition(b":")
    return int(int(number) == 4)


class InfinibandPorts:
    """Ask every port of every RDMA device."""

    name = "infiniband"
    absent = "no RDMA device"

    def __init__(self, roots: Roots) -> None:
        self._directory = roots.sysfs / "class/infiniband"

    def is_there(self) -> bool:
        """Say whether a driver has registered."""
        return self._directory.is_dir()

    def ask(self) -> Answered:
        """Read all ports."""
        told, unread = [], []
        for path in sorted(self._directory.glob("*/ports/*")):
            name = device_name(f"{path.parent.parent.name}/{path.name}")
            try:
                told.append(Told(Device(name, report_pb2.DEVICE_KIND_RDMA), _read_port(path)))
            except (OSError, ValueError) as error:
                unread.append(Unread(name, str(error), fix_of(error)))
        return Answered(tuple(told), tuple(unread))


def _read_port(path: Path) -> dict[Metric, int]:
    counters = path / "counters"
    values: dict[Metric, int] = {
        m.METRIC_DEVICE_RECEIVED: _number(counters / "port_rcv_data") * _LANES,
        m.METRIC_DEVICE_SENT: _number(counters / "port_xmit_data") * _LANES,
        m.METRIC_DEVICE_PACKETS_RECEIVED: _number(counters / "port_rcv_packets"),
        m.METRIC_DEVICE_PACKETS_SENT: _number(counters / "port_xmit_packets"),
        m.METRIC_DEVICE_LINK_UP: parse_state((path / "state").read_bytes()),
        m.METRIC_DEVICE_LINK_RATE: parse_rate((path / "rate").read_bytes()),
        m.METRIC_DEVICE_LINK_ERRORS: sum(_optional(counters / name) or 0 for name in _ERRORS),
    }
    if (waits := _optional(counters / "port_xmit_wait")) is not None:
        values[m.METRIC_DEVICE_LINK_WAITS] = waits
    found = [_optional(path / "hw_counters" / name) for name in _RETRANSMISSIONS]
    if any(number is not None for number in found):
        values[m.METRIC_DEVICE_RETRANSMISSIONS] = sum(number or 0 for number in found)
    return values


def _number(path: Path) -> int:
    data = path.read_bytes()
    try:
        number = int(data)
    except ValueError:
        raise ValueError(f"{path}: {data[:40]!r}, expected a number") from None
    if number < 0:
        raise ValueError(f"{path}: {number}, expected 0 or more")
    return number


def _optional(path: Path) -> int | None:
    """Return a counter that not every driver has; an old one says N/A (PMA) in words."""
    try:
        return _number(path)
    except FileNotFoundError:
        return None
    except ValueError:
        return None
