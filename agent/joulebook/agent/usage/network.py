"""Read what the network interfaces carried: /proc/net/dev (proc_pid_net(5))."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import ge

from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Device, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import metrics_pb2, report_pb2

# Bytes of these pass through another interface too, or never leave the node.
_NOT_AN_END = re.compile(
    r"(lo|veth|br-|br[0-9]|virbr|docker|cni|cali|flannel|vxlan|bond|team|vlan|ifb|dummy|tun|tap|wg|sit|ip6tnl"
    r"|tunl|gre|erspan|nlmon|vnet|macvtap|lxc|podman|ovs|cilium|kube|nodelocaldns).*|.*[.@].*"
)
_METRICS = (
    metrics_pb2.METRIC_DEVICE_RECEIVED,
    metrics_pb2.METRIC_DEVICE_SENT,
    metrics_pb2.METRIC_DEVICE_PACKETS_RECEIVED,
    metrics_pb2.METRIC_DEVICE_PACKETS_SENT,
)
# The kernel gives a page of whole lines at a time.
_CHUNK_BYTES = 8192

Counts = tuple[int, int, int, int]


@dataclass(slots=True)
class Interface:
    """One interface; last holds bytes received and sent, packets received and sent, of the last read."""

    name: str
    # As the kernel prints it ("%6s:"), with the line end before it, so that eth0 never matches in veth0.
    label: bytes
    raw: Counts = (0, 0, 0, 0)
    last: Counts = (0, 0, 0, 0)


def interface_names(data: bytes) -> list[str]:
    """Parse the interfaces' names, in the file's order."""
    return [line.rpartition(b":")[0].strip().decode() for line in data.split(b"\n")[2:] if b":" in line]


def parse_interface(data: bytes, label: bytes) -> Counts | None:
    """Parse one interface's bytes received and sent, packets received and sent; None: it is not there."""
    at = data.find(label)
    end = data.find(b"\n", at + 1)
    if at < 0 or end < 0:
        return None
    fields = data[at + len(label) : end].split(None, 10)
    return int(fields[0]), int(fields[8]), int(fields[1]), int(fields[9])


def physical(names: Sequence[str], has_device: Sequence[bool]) -> list[str]:
    """Choose the interfaces whose bytes are the node's own, each byte once.

    Those with a device behind them; where none has one (containers), those that are no loopback, bridge,
    bond, VLAN or tunnel.
    """
    with_device = [name for name, is_physical in zip(names, has_device, strict=True) if is_physical]
    return with_device or [name for name in names if not _NOT_AN_END.fullmatch(name)]


FACTS = SourceFacts(
    name="network",
    what="bytes and packets of each physical interface",
    where="`/proc/net/dev`",
    unit="bytes, packets",
    period="as the driver adds up: at once to 1 s",
    accuracy="exact",
    privilege="none",
    cost="8 µs",
    documentation="proc_pid_net(5)",
)


class NetworkUsage:
    """Read every physical interface's counters. One that is removed keeps its last values."""

    name = "network"

    def __init__(self, roots: Roots) -> None:
        self._path = roots.procfs / "net/dev"
        self._class = roots.sysfs / "class/net"
        self._fd = -1
        self._interfaces: list[Interface] = []

    def probe(self) -> Probe:
        """Open /proc/net/dev and choose the interfaces."""
        known = {interface.name: interface for interface in self._interfaces}
        self.close()
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            names = interface_names(self._whole(b""))
        except FileNotFoundError:
            return Probe(findings=(Finding(self.name, ABSENT, f"no {self._path}"),))
        except OSError as error:
            self.close()
            return Probe(findings=(Finding(self.name, UNREADABLE, str(error), "mount procfs"),))
        chosen = physical(names, [(self._class / name / "device").exists() for name in names])
        if not chosen:
            self.close()
            return Probe(findings=(Finding(self.name, ABSENT, "no physical interface"),))
        self._interfaces = [
            known.get(name) or Interface(name, b"\n" + name.encode().rjust(6) + b":") for name in chosen
        ]
        return Probe(
            series=tuple(Series(metric, device=name) for name in chosen for metric in _METRICS),
            devices=tuple(Device(name, report_pb2.DEVICE_KIND_NETWORK) for name in chosen),
            findings=(Finding(self.name, WORKING),),
        )

    def read(self, now_us: int) -> Sequence[int]:  # noqa: ARG002  # the kernel's own counters need no clock
        """Return bytes received and sent, packets received and sent, of each interface."""
        data = os.pread(self._fd, _CHUNK_BYTES, 0)
        is_whole = False
        values: list[int] = []
        for interface in self._interfaces:
            counts = parse_interface(data, interface.label)
            if counts is None and not is_whole:
                # The kernel gives a page at a time: the interface is further on, or gone.
                data = self._whole(data)
                is_whole = True
                counts = parse_interface(data, interface.label)
            if counts is not None:
                _advance(interface, counts)
            values += interface.last
        return values

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _whole(self, data: bytes) -> bytes:
        while chunk := os.pread(self._fd, _CHUNK_BYTES, len(data)):
            data += chunk
        return data


def _advance(interface: Interface, counts: Counts) -> None:
    """Book what was counted since the last read; where one counter fell, all began again at 0."""
    raw = interface.raw
    is_growing = all(map(ge, counts, raw))
    if is_growing and interface.last == raw:
        interface.raw = interface.last = counts
        return
    before = raw if is_growing else (0, 0, 0, 0)
    received, sent, packets_received, packets_sent = (
        last + count - seen for last, count, seen in zip(interface.last, counts, before, strict=True)
    )
    interface.last = (received, sent, packets_received, packets_sent)
    interface.raw = counts
