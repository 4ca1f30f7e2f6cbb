"""Network interfaces of the node."""

from pathlib import Path

import psutil

from joulebook.agent.source import ABSENT, Roots
from joulebook.agent.usage.network import NetworkUsage, interface_names, parse_interface, physical
from tests.fixtures.trees import build, roots_of, write

_HEAD = "Inter-|   Receive\n face |bytes    packets"


def _line(name: str, received: int, sent: int) -> str:
    return f"{name:>6}: {received:7} 5 0 0 0 0 0 0 {sent:8} 6 0 0 0 0 0 0"


def test_bytes_are_counted_once(tmp_path: Path) -> None:
    """Bonds, VLANs, bridges and containers' ends repeat bytes of physical interfaces and are left out."""
    network = NetworkUsage(build("xeon-2s", tmp_path))
    probe = network.probe()
    assert [device.name for device in probe.devices] == ["eno1", "ib0"]
    assert list(network.read(0)) == [
        *(123456789012, 23456789012, 98765432, 45678901),
        *(5000000000, 6000000000, 4000000, 5000000),
    ]
    assert len(probe.series) == 8
    network.close()


def test_without_devices_the_ends_are_chosen() -> None:
    """In a container no interface has a device: those that repeat no other are read."""
    names = ["lo", "eth0", "docker0", "veth12ab", "eth0.5", "br-12", "bond0", "ifb1", "enp3s0"]
    assert physical(names, [False] * len(names)) == ["eth0", "enp3s0"]


def test_a_name_within_another_is_not_found_there() -> None:
    """eth0 is not read from veth0's line, nor from a line without its end."""
    data = f"{_HEAD}\n{_line('veth0', 9, 9)}\n{_line('eth0', 1, 2)}\n".encode()
    assert interface_names(data) == ["veth0", "eth0"]
    assert parse_interface(data, b"\n  eth0:") == (1, 2, 5, 6)
    assert parse_interface(data[:-1], b"\n  eth0:") is None
    assert parse_interface(data, b"\n  eth1:") is None


def test_an_interface_beyond_the_first_page_is_read(tmp_path: Path) -> None:
    """Hundreds of containers' interfaces before it do not hide an interface, nor bring it in twice."""
    roots = roots_of(tmp_path)
    lines = [_line(f"veth{number:06d}", number, number) for number in range(300)]
    write(roots.procfs / "net/dev", "\n".join([_HEAD, *lines, _line("eth0", 77, 88)]))
    network = NetworkUsage(roots)
    network.probe()
    assert list(network.read(0)) == [77, 88, 5, 6]
    network.close()


def test_a_removed_or_reset_interface_never_falls(tmp_path: Path) -> None:
    """A gone interface keeps its values; back at 0 it goes on once that is sure, after a new probe too."""
    roots = roots_of(tmp_path)
    table = roots.procfs / "net/dev"
    write(table, f"{_HEAD}\n{_line('eth0', 1000, 2000)}")
    network = NetworkUsage(roots)
    network.probe()
    assert list(network.read(0)) == [1000, 2000, 5, 6]
    write(table, _HEAD)
    assert list(network.read(1)) == [1000, 2000, 5, 6]
    write(table, f"{_HEAD}\n{_line('eth0', 10, 20)}")
    assert list(network.read(2)) == [1000, 2000, 5, 6]
    write(table, f"{_HEAD}\n{_line('eth0', 15, 20)}")
    assert list(network.read(3)) == [1015, 2020, 10, 12]
    (finding,) = network.findings()
    assert finding.reason.startswith("readings dropped: 1; the last: counter 1 fell")
    network.probe()
    assert list(network.read(4)) == [1015, 2020, 10, 12]
    network.close()


def test_no_interface_is_quiet(tmp_path: Path) -> None:
    """A node without a network, or without the file, has no network source."""
    roots = roots_of(tmp_path)
    assert [finding.state for finding in NetworkUsage(roots).probe().findings] == [ABSENT]
    write(roots.procfs / "net/dev", f"{_HEAD}\n{_line('lo', 1, 1)}")
    assert [finding.state for finding in NetworkUsage(roots).probe().findings] == [ABSENT]


def test_this_machine_agrees_with_psutil() -> None:
    """The machine's bytes lie between two readings by psutil."""
    network = NetworkUsage(Roots())
    devices = network.probe().devices
    before = psutil.net_io_counters(pernic=True, nowrap=False)
    values = list(network.read(0)) if devices else []
    after = psutil.net_io_counters(pernic=True, nowrap=False)
    for index, device in enumerate(devices):
        assert before[device.name].bytes_recv <= values[4 * index] <= after[device.name].bytes_recv
    network.close()
