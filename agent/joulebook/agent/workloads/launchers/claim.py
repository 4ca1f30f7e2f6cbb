"""What a recogniser says of a process: the application that it belongs to."""

import hashlib
import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass

from joulebook.agent.workloads.launchers.process import Process

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,99}\Z")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.:@-]")
_KEPT = 80
_MAX_NAME = 255
# Set aside for documentation: nobody's, beyond any router.
_ELSEWHERE = ("192.0.2.1", 9)
_LOCAL_NAMES = frozenset(("", "localhost", "localhost.localdomain", "ip6-localhost"))


@dataclass(frozen=True, slots=True)
class Claim:
    """An application, by the id of its job; also has processes besides that belong to it: who started it.

    driver_at, of an executor of Spark's: where its driver listens. is_driver: it is one, whose application
    only the executors know; alone is the claim for it where there are none.
    """

    id: str
    source: str
    name: str = ""
    also: tuple[int, ...] = ()
    driver_at: tuple[str, int] | None = None
    is_driver: bool = False


@dataclass(frozen=True, slots=True)
class Here:
    """Where a process is looked at: what to call this node, and its address among others."""

    node: str
    address: str
    network: Callable[[int], int] = lambda _: 0
    own_network: int = 0

    def host(self, host: str, pid: int) -> str:
        """Return a host as other nodes would name it: what is only here has the node's name or address.

        In a network of its own (a container) loopback is another one.
        """
        host = host.strip("[]")
        if not is_loopback(host):
            return host
        network = self.network(pid)
        if network and self.own_network and network != self.own_network:
            return f"{self.node}.{network}"
        return self.address or self.node

    def only(self, process: Process) -> str:
        """Return a name for an application that no other node has a part of, by who began it and when.

        Pids come again; with the second after boot in which it began one hardly does.
        """
        return f"{self.node}.{process.pid}.{process.start_us // 1_000_000}"


def is_loopback(host: str) -> bool:
    """Say whether a host means the machine itself, whichever that is: loopback, or every address."""
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def own_address() -> str:
    """Return the address by which other machines reach this one; "" without a route to any."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)  # of datagrams this sends nothing
            address: str = probe.getsockname()[0]
        except OSError:
            return ""
    return "" if is_loopback(address) else address


def clean(text: str) -> str:
    """Return text as it may stand in an id; what had to be changed stays apart from its like by a hash."""
    if _SAFE.match(text):
        return text
    mark = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return f"{_UNSAFE.sub('_', text[:_KEPT]).lstrip('_.:@-')}~{mark}"


def shown(text: str) -> str:
    """Return text as a name that may be shown: short, and without what moves a terminal's cursor."""
    return "".join(each if each.isprintable() else "�" for each in text[:_MAX_NAME])


def host_port(address: str) -> tuple[str, str] | None:
    """Return host and port of an address such as tcp://host:port; None where it is none."""
    _, _, place = address.rpartition("://")
    host, colon, port = place.partition("/")[0].rpartition(":")
    return (host, port) if colon and port.isdecimal() else None


def first_started(process: Process, programs: frozenset[str]) -> tuple[int, ...]:
    """Return the parent's pid where it is one of these programs."""
    parent = process.parent
    return (parent.pid,) if parent is not None and programs.intersection(parent.programs) else ()
