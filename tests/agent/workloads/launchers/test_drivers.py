"""Spark's drivers by where they listen, with a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.agent.workloads.launchers.claim import Claim
from joulebook.agent.workloads.launchers.drivers import Drivers, parse_listeners

DRIVER = Claim("spark.here.1", "spark", "words", is_driver=True)
PATIENT_US = 120_000_000


def executor(port: int, host: str = "127.0.0.1") -> Claim:
    return Claim("spark.app-7", "spark", driver_at=(host, port))


@pytest.fixture(
    params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1"), (socket.AF_INET, "")]
)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port that this process listens on, as JVMs do: IPv4, IPv4 within IPv6, all addresses."""
    family, host = request.param
    if family == socket.AF_INET6 and not Path("/proc/net/if_inet6").exists():
        pytest.skip("needs a kernel with IPv6")
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_an_executor_names_a_driver_that_waits(port: int) -> None:
    """The driver that listens where the executor says is its own; another one waits on."""
    drivers = Drivers(Path("/proc"))
    assert drivers.wait(os.getpid(), DRIVER, 0) is None
    assert drivers.wait(1 << 22, DRIVER, 0) is None
    assert drivers.named(executor(port ^ 1)) == []
    assert drivers.named(executor(port)) == [(os.getpid(), DRIVER)]
    assert drivers.named(executor(port)) == []
    assert drivers.late(PATIENT_US - 1) == []
    assert drivers.late(PATIENT_US) == [(1 << 22, DRIVER)]


def test_a_driver_that_comes_after_its_executor_is_known_at_once(port: int) -> None:
    """An executor that was seen first is remembered; a name for the host will do."""
    drivers = Drivers(Path("/proc"))
    drivers.named(executor(port, "some.host"))
    assert drivers.wait(os.getpid(), DRIVER, 0) == executor(port, "some.host")
    assert drivers.late(PATIENT_US) == []


def test_listeners_elsewhere_are_others() -> None:
    """The same port at another address, or a connection from it, is not the driver's."""
    raw = (
        b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        b"   0: 0100007F:9C41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0\n"
        b"   1: 0200000A:9C41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0\n"
        b"   2: 0100007F:9C41 0100007F:9C42 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0\n"
        b"torn\n"
    )
    assert parse_listeners(raw, "127.0.0.1", 0x9C41) == {"socket:[11]"}
    assert parse_listeners(raw, "10.0.0.2", 0x9C41) == {"socket:[12]"}
    assert parse_listeners(raw, "host", 0x9C41) == {"socket:[11]", "socket:[12]"}
    assert parse_listeners(raw, "127.0.0.1", 1) == set()
