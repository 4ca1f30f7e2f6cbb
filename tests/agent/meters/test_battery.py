"""Batteries as a laptop's meter, while they feed it."""

from pathlib import Path

import pytest

from joulebook.agent.meters.battery import BatteryFiles, BatteryMeter, discharging_mw
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Roots
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000
_SUPPLY = "class/power_supply"


def _battery(roots: Roots, name: str = "BAT0", **files: object) -> Path:
    path = roots.sysfs / _SUPPLY / name
    for file, content in {"type": "Battery", **files}.items():
        write(path / file, content)
    return path


@pytest.mark.parametrize(
    ("files", "power_mw"),
    [
        (BatteryFiles(b"Discharging\n", b"11230000\n"), 11_230),
        (BatteryFiles(b"Discharging\n", b"-11230000\n"), 11_230),
        (BatteryFiles(b"Discharging\n", b"", b"987000\n", b"11900000\n"), 11_745),
        (BatteryFiles(b"Discharging\n", b"", b"-987000\n", b"11900000\n"), 11_745),
        (BatteryFiles(b"Charging\n", b"30000000\n"), None),
        (BatteryFiles(b"Full\n", b"0\n"), None),
        (BatteryFiles(b"Not charging\n", b"0\n"), None),
        (BatteryFiles(b"Unknown\n"), None),
        (BatteryFiles(b""), None),
    ],
)
def test_only_what_is_given_out_is_power(files: BatteryFiles, power_mw: int | None) -> None:
    """Power, or current times voltage, with either sign, while the battery discharges and no longer."""
    assert discharging_mw(files) == power_mw


@pytest.mark.parametrize("files", [BatteryFiles(b"Discharging"), BatteryFiles(b"Discharging", b"\xff")])
def test_what_is_no_number_is_an_error(files: BatteryFiles) -> None:
    """A battery that says that it gives out, and not what, is told."""
    with pytest.raises(ValueError, match="invalid literal"):
        discharging_mw(files)


def test_the_node_is_measured_from_plug_to_plug(tmp_path: Path) -> None:
    """Pulling the plug makes the domain, putting it in ends it; no time on the mains is in it."""
    roots = roots_of(tmp_path)
    first = _battery(roots, status="Full", power_now=0)
    second = _battery(roots, "BAT1", status="Unknown")
    meter = BatteryMeter(roots)
    probe = meter.probe()
    assert (probe.domains, [finding.state for finding in probe.findings]) == ((), [WORKING])
    assert "the mains feed this machine" in probe.findings[0].reason
    assert (meter.read(0), meter.changed()) == ((), None)
    write(first / "status", "Discharging")
    write(first / "power_now", 9_000_000)
    write(second / "status", "Discharging")
    write(second / "power_now", 3_000_000)
    meter.read(S)
    joined = meter.changed()
    assert joined is not None
    assert [domain.name for domain in joined.domains] == ["node"]
    begin = list(meter.read(S))
    write(first / "power_now", 11_000_000)
    assert [b - a for a, b in zip(begin, meter.read(2 * S), strict=True)] == [13 * S, 0]
    write(first / "status", "Charging")
    write(second / "status", "Not charging")
    meter.read(3 * S)
    left = meter.changed()
    assert left is not None
    assert (left.domains, meter.read(3 * S), meter.offsets_uj()) == ((), (), ())
    write(first / "status", "Discharging")
    meter.read(1000 * S)
    assert meter.changed() is not None
    begin = list(meter.read(1000 * S))
    assert [b - a for a, b in zip(begin, meter.read(1001 * S), strict=True)] == [11 * S, 0]
    meter.close()


def test_a_battery_that_goes_or_lies_only_misses(tmp_path: Path) -> None:
    """Garbage and absurd powers give no joule and are told; the next true one goes on."""
    roots = roots_of(tmp_path)
    battery = _battery(roots, status="Discharging", power_now=9_000_000)
    meter = BatteryMeter(roots)
    assert [domain.name for domain in meter.probe().domains] == ["node"]
    meter.read(0)
    meter.read(S)
    for second, garbage in enumerate(["", "x", "99999999999999", "\x00"], start=2):
        write(battery / "power_now", garbage)
        assert meter.read(second * S)[0] == 9 * S
    assert [finding.state for finding in meter.findings()] != []
    write(battery / "power_now", 9_000_000)
    meter.read(6 * S)
    meter.read(7 * S)
    energy_uj, unread_us = meter.read(7 * S)
    assert (energy_uj, unread_us) == (18 * S, 5 * S)
    meter.close()


def test_a_mouse_feeds_nothing(tmp_path: Path) -> None:
    """Batteries of devices, and mains, are none of the system's."""
    roots = roots_of(tmp_path)
    _battery(roots, "hidpp_battery_0", scope="Device", status="Discharging", power_now=1)
    _battery(roots, "AC", type="Mains", online=1)
    meter = BatteryMeter(roots)
    assert [finding.state for finding in meter.probe().findings] == [ABSENT]
    assert list(meter.read(0)) == []


def test_a_battery_without_power_is_unreadable(tmp_path: Path) -> None:
    """One that says no power at the start gives no domain; where it comes, the domain does."""
    roots = roots_of(tmp_path)
    battery = _battery(roots, status="Discharging")
    meter = BatteryMeter(roots)
    probe = meter.probe()
    assert (probe.domains, [finding.state for finding in probe.findings]) == ((), [UNREADABLE])
    assert list(meter.read(0)) == []
    write(battery / "power_now", 5_000_000)
    meter.read(S)
    assert meter.changed() is not None
    assert meter.findings() == ()
    battery.joinpath("power_now").unlink()
    meter.read(2 * S)
    assert [finding.state for finding in meter.findings()] == [UNREADABLE]


def test_this_machine_and_every_kind() -> None:
    """Probing and reading the machine at hand never raises."""
    meter = BatteryMeter(Roots())
    probe = meter.probe()
    assert len(meter.read(S)) == len(probe.series)


def test_a_server(tmp_path: Path) -> None:
    """A tree without power_supply has no battery."""
    assert [f.state for f in BatteryMeter(build("xeon-2s", tmp_path)).probe().findings] == [ABSENT]


def test_a_laptop_of_two_batteries(tmp_path: Path) -> None:
    """One gives out and the other is empty; the mains are pulled, a mouse has its own: the first is told."""
    meter = BatteryMeter(build("laptop-battery", tmp_path))
    assert [domain.name for domain in meter.probe().domains] == ["node"]
    meter.read(0)
    assert list(meter.read(S)) == [27_758_000, 0]
