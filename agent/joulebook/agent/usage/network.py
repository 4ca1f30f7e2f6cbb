"""Read what the network interfaces carried: /proc/net/dev (proc_pid_net(5))."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.counters import Counters, Trouble
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

_HEAD = b"Inter-|"
# Several times what the fastest port carries in a second.
_MOST = (4 * 10**11, 4 * 10**11, 10**10, 10**10)
# linux/if_arp.h
_ARPHRD_INFINIBAND = 32

Counts = tuple[int, int, int, int]


@dataclass(slots=True)
class Interface:
    """One interface; its counters are bytes received and sent, packets received and sent."""

    name: str
    # As the kernel prints it ("%6s:"), with the line end before it, so that eth0 never matches in veth0.
    label: bytes
    trouble: Trouble
    counters: Counters


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


def _is_in_port(path: Path) -> bool:
    """Say whether an interface is IP over InfiniBand whose port is read: the port counts its bytes too."""
    try:
        if int((path / "type").read_bytes()) != _ARPHRD_INFINIBAND:
            return False
    except (OSError, ValueError):
        return False
    return any(path.glob("device/infiniband/*/ports/*/counters/port_rcv_data"))


def _interface(source: str, name: str) -> Interface:
    trouble = Trouble(source)
    return Interface(name, b"\n" + name.encode().rjust(6) + b":", trouble, Counters(trouble, _MOST))


class NetworkUsage:
    """Read every physical interface's counters. One that is removed keeps its last values."""

    name = "network"

    def __init__(self, roots: Roots) -> None:
        self._path = roots.procfs / "net/dev"
        self._class = roots.sysfs / "class/net"
        self._fd = -1
        self._interfaces: list[Interface] = []
        self._now_us = 0

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
        chosen = [name for name in chosen if not _is_in_port(self._class / name)]
        if not chosen:
            self.close()
            return Probe(findings=(Finding(self.name, ABSENT, "no physical interface"),))
        self._interfaces = [known.get(name) or _interface(f"{self.name}:{name}", name) for name in chosen]
        return Probe(
            series=tuple(Series(metric, device=name) for name in chosen for metric in _METRICS),
            devices=tuple(Device(name, report_pb2.DEVICE_KIND_NETWORK) for name in chosen),
            findings=(Finding(self.name, WORKING),),
        )

    def read(self, now_us: int) -> Sequence[int]:
        """Return bytes received and sent, packets received and sent, of each interface."""
        self._now_us = now_us
        data = os.pread(self._fd, _CHUNK_BYTES, 0)
        if not data.startswith(_HEAD):
            raise ValueError(f"/proc/net/dev begins with {data[:40]!r}, expected {_HEAD!r}")
        is_whole = False
        values: list[int] = []
        for interface in self._interfaces:
            try:
                counts = parse_interface(data, interface.label)
                if counts is None and not is_whole:
                    # The kernel gives a page at a time: the interface is further on, or gone.
                    data = self._whole(data)
                    is_whole = True
                    counts = parse_interface(data, interface.label)
            except (ValueError, IndexError) as error:
                interface.counters.miss(error, now_us)
                counts = None
            if counts is not None:
                interface.counters.take(counts, now_us)
            values += interface.counters.values
        return values

    def findings(self) -> tuple[Finding, ...]:
        """Return what was dropped, where that is news."""
        now_us = self._now_us
        return tuple(f for i in self._interfaces if (f := i.trouble.finding(now_us)) is not None)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _whole(self, data: bytes) -> bytes:
        while chunk := os.pread(self._fd, _CHUNK_BYTES, len(data)):
            data += chunk
        return data
