"""InfiniBand and RoCE ports."""

from pathlib import Path

import pytest

from joulebook.agent.usage.infiniband import InfinibandPorts, parse_rate, parse_state
from joulebook.agent.usage.network import NetworkUsage
from joulebook.v1 import metrics_pb2 as m
from tests.fixtures.trees import build, roots_of, write


def test_each_port(tmp_path: Path) -> None:
    """Data counters are lanes of four bytes; errors are added up; a RoCE port tells what it sent again."""
    answered = InfinibandPorts(build("storage", tmp_path)).ask()
    by_name = {told.device.name: told.values for told in answered.told}
    assert list(by_name) == ["hfi1_0/1", "mlx5_0/1", "mlx5_bond_0/1"]
    assert by_name["mlx5_0/1"] == {
        m.METRIC_DEVICE_RECEIVED: 10_000_000_000_000,
        m.METRIC_DEVICE_SENT: 5_000_000_000_000,
        m.METRIC_DEVICE_PACKETS_RECEIVED: 3_000_000_000,
        m.METRIC_DEVICE_PACKETS_SENT: 1_500_000_000,
        m.METRIC_DEVICE_LINK_UP: 1,
        m.METRIC_DEVICE_LINK_RATE: 50_000_000_000,
        m.METRIC_DEVICE_LINK_ERRORS: 7,
        m.METRIC_DEVICE_LINK_WAITS: 777,
    }
    assert by_name["mlx5_bond_0/1"][m.METRIC_DEVICE_RETRANSMISSIONS] == 18
    assert by_name["hfi1_0/1"][m.METRIC_DEVICE_LINK_UP] == 0
    assert answered.unread == ()


def test_a_bad_port_leaves_the_others(tmp_path: Path) -> None:
    """A port that vanishes, or whose counter is garbage, is named; the others are read."""
    roots = build("storage", tmp_path)
    write(roots.sysfs / "class/infiniband/mlx5_0/ports/1/counters/port_rcv_data", "N/A (no PMA)")
    (roots.sysfs / "class/infiniband/hfi1_0/ports/1/state").unlink()
    answered = InfinibandPorts(roots).ask()
    assert [told.device.name for told in answered.told] == ["mlx5_bond_0/1"]
    assert [part.name for part in answered.unread] == ["hfi1_0/1", "mlx5_0/1"]


def test_ip_over_a_port_is_not_counted_twice(tmp_path: Path) -> None:
    """ib0's bytes are in its port's counters; where the port cannot be read, ib0 is."""
    roots = build("xeon-2s", tmp_path)
    device = roots.sysfs / "devices/pci0000:00/0000:00:03.0"
    write(roots.sysfs / "class/net/ib0/type", 32)
    network = NetworkUsage(roots)
    assert [d.name for d in network.probe().devices] == ["eno1", "ib0"]
    write(device / "infiniband/mlx5_0/ports/1/counters/port_rcv_data", 1)
    assert [d.name for d in network.probe().devices] == ["eno1"]
    network.close()


def test_absent(tmp_path: Path) -> None:
    """Without a driver there is nothing to ask."""
    assert not InfinibandPorts(roots_of(tmp_path)).is_there()
    assert InfinibandPorts(roots_of(tmp_path)).ask().told == ()


@pytest.mark.parametrize(
    ("data", "rate"),
    [
        (b"400 Gb/sec (4X NDR)\n", 50_000_000_000),
        (b"2.5 Gb/sec (1X SDR)", 312_500_000),
        (b"  10 Gb/sec (4X)", 1_250_000_000),
    ],
)
def test_rates(data: bytes, rate: int) -> None:
    """Bits become bytes, tenths are kept."""
    assert parse_rate(data) == rate


def test_what_is_no_rate_or_state() -> None:
    """Anything else is refused."""
    assert [parse_state(b"4: ACTIVE\n"), parse_state(b"1: DOWN"), parse_state(b"2: INIT")] == [1, 0, 0]
    with pytest.raises(ValueError, match="expected as 100"):
        parse_rate(b"fast")
    with pytest.raises(ValueError, match="invalid literal"):
        parse_state(b"ACTIVE")
