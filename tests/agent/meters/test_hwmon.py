"""hwmon sensors of several kinds of machines."""

from pathlib import Path

import pytest

from joulebook.agent.meters.hwmon import HwmonConfig, HwmonMeter
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Roots
from joulebook.v1 import report_pb2
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000


def test_grace_sockets_are_domains_within_their_module(tmp_path: Path) -> None:
    """Grace's labels name the module, its socket and the socket's rails; its memory is within."""
    meter = HwmonMeter(build("grace", tmp_path))
    probe = meter.probe()
    assert [domain.name for domain in probe.domains] == ["module.0", "cpu.0", "core.0", "uncore.0"]
    assert {domain.kind for domain in probe.domains} == {report_pb2.SOURCE_KIND_AVERAGE_POWER}
    assert {domain.period_us for domain in probe.domains} == {50_000}
    assert [domain.holds for domain in probe.domains] == [{"memory.0"}, {"memory.0"}, set(), set()]
    meter.close()


def test_power_is_integrated_from_zero(tmp_path: Path) -> None:
    """A gauge in µW becomes µJ by trapezoid, from 0, and an empty reading is unread time."""
    roots = build("grace", tmp_path)
    meter = HwmonMeter(roots)
    meter.probe()
    assert list(meter.read(0)[:2]) == [0, 0]
    gauge = roots.sysfs / "class/hwmon/hwmon0/device/power1_average"
    write(gauge, 330_000_000)
    assert list(meter.read(S)[:2]) == [320_000_000, 0]
    gauge.write_text("")
    values = meter.read(2 * S)
    assert list(values[:2]) == [320_000_000, S]
    assert values[2] == 240_000_000
    assert [(finding.name, finding.state) for finding in meter.findings()] == [("hwmon:module.0", UNREADABLE)]
    assert meter.offsets_uj() == (0, 0, 0, 0)
    meter.close()


def test_the_acpi_meter_is_the_node(tmp_path: Path) -> None:
    """An ACPI power meter without a label measures the node, with the accuracy that it states."""
    meter = HwmonMeter(build("xeon-2s", tmp_path))
    (node,) = meter.probe().domains
    assert (node.name, node.accuracy_ppm, node.period_us) == ("node", 50_000, 2 * S)
    meter.close()


def test_two_node_meters_are_not_booked(tmp_path: Path) -> None:
    """Two meters that both could be the node's are told of and left out."""
    roots = roots_of(tmp_path)
    for number in (0, 1):
        write(roots.sysfs / f"class/hwmon/hwmon{number}/name", "power_meter")
        write(roots.sysfs / f"class/hwmon/hwmon{number}/power1_average", 1)
    probe = HwmonMeter(roots).probe()
    assert probe.domains == ()
    assert [finding.state for finding in probe.findings] == [ABSENT, WORKING]
    assert "cannot be told apart" in probe.findings[1].reason


def test_chips_of_one_name_are_told_apart_by_their_device(tmp_path: Path) -> None:
    """Two cards of the same driver are two GPUs; a processor's own graphics are none."""
    meter = HwmonMeter(build("epyc", tmp_path), covered=frozenset({"cpu.0", "cpu.1"}))
    probe = meter.probe()
    assert [domain.name for domain in probe.domains] == ["gpu.0", "gpu.1"]
    assert [finding.name for finding in probe.findings] == ["hwmon", "hwmon:amdgpu@0000:05:00.0"]
    meter.read(0)
    assert list(meter.read(S)) == [91 * S, 0, 92 * S, 0]
    meter.close()


def test_sockets_of_amd_energy_stand_in_for_rapl(tmp_path: Path) -> None:
    """amd_energy's sockets are packages, where nothing better measures them; its cores are parts of them."""
    meter = HwmonMeter(build("epyc", tmp_path), covered=frozenset({"gpu.0"}))
    probe = meter.probe()
    assert [(domain.name, domain.kind) for domain in probe.domains] == [
        ("cpu.0", report_pb2.SOURCE_KIND_COUNTER),
        ("cpu.1", report_pb2.SOURCE_KIND_COUNTER),
    ]
    assert list(meter.read(0)) == [31234567890, 0, 41234567890, 0]
    meter.close()


def test_a_counter_is_taken_before_a_gauge_of_the_same_card(tmp_path: Path) -> None:
    """Of a card's sensors the counter of the whole card is booked."""
    roots = roots_of(tmp_path)
    chip = roots.sysfs / "class/hwmon/hwmon0"
    write(chip / "name", "xe")
    for name, label, value in (("power1", "card", 1), ("energy1", "card", 500), ("energy2", "pkg", 300)):
        write(chip / f"{name}_label", label)
        write(chip / f"{name}_input", value)
    meter = HwmonMeter(roots)
    assert [domain.name for domain in meter.probe().domains] == ["gpu.0"]
    assert list(meter.read(0)) == [500, 0]
    meter.close()


def test_cards_of_every_kind_of_intel_driver(tmp_path: Path) -> None:
    """A card is one GPU, tiles are within it; of those of which the package alone is counted that is said."""
    meter = HwmonMeter(build("intel-gpus", tmp_path))
    probe = meter.probe()
    # In the order of their places on the bus: A750, A770, Max 1550, B580.
    assert [(domain.name, domain.accuracy_ppm) for domain in probe.domains] == [
        ("gpu.0", 200_000),
        ("gpu.1", 200_000),
        ("gpu.2", 50_000),
        ("gpu.3", 50_000),
    ]
    assert {domain.kind for domain in probe.domains} == {report_pb2.SOURCE_KIND_COUNTER}
    assert list(meter.read(0))[::2] == [987654321, 387654321, 66987654321, 1987654321]
    told = {finding.name: finding.reason for finding in probe.findings}
    assert set(told) == {"hwmon", "hwmon:gpu.0", "hwmon:gpu.1"}
    assert "the package alone" in told["hwmon:gpu.1"]
    meter.close()


def test_what_others_measure_is_left_to_them(tmp_path: Path) -> None:
    """A domain that is covered, whole or by its dies, is not measured again."""
    meter = HwmonMeter(build("epyc", tmp_path), covered=frozenset({"cpu.0.0", "cpu.0.1", "gpu.7"}))
    assert [domain.name for domain in meter.probe().domains] == ["cpu.1"]
    meter.close()


def test_an_unknown_sensor_is_not_booked(tmp_path: Path) -> None:
    """A battery's power is said to be not booked, at no alarm."""
    absent, finding = HwmonMeter(build("laptop", tmp_path)).probe().findings
    assert (absent.name, absent.state) == ("hwmon", ABSENT)
    assert (finding.name, finding.state) == ("hwmon:BAT0@hwmon4", WORKING)
    assert finding.reason.startswith("not booked")


def test_one_unreadable_sensor_leaves_the_others(tmp_path: Path) -> None:
    """A sensor that gives no number at probe is told of, and the rest work."""
    roots = build("grace", tmp_path)
    (roots.sysfs / "class/hwmon/hwmon1/device/power1_average").write_text("")
    meter = HwmonMeter(roots)
    probe = meter.probe()
    assert [domain.name for domain in probe.domains] == ["module.0", "core.0", "uncore.0"]
    assert [finding.name for finding in probe.findings if finding.state == UNREADABLE] == ["hwmon:cpu.0"]
    meter.close()


def test_power9_counts_its_chips_and_itself(tmp_path: Path) -> None:
    """Chips are packages and the system is the node, by counters of whole joules; the rest are parts."""
    roots = build("power9", tmp_path)
    meter = HwmonMeter(roots, reads_per_s=10)
    probe = meter.probe()
    assert [domain.name for domain in probe.domains] == ["cpu.0", "cpu.8", "node"]
    assert {domain.kind for domain in probe.domains} == {report_pb2.SOURCE_KIND_COUNTER}
    assert {(domain.resolution_uj, domain.period_us) for domain in probe.domains} == {(1_000_000, 100_000)}
    assert [finding.name for finding in probe.findings] == ["hwmon"]
    before = meter.read(0)
    chips = roots.sysfs / "class/hwmon/hwmon0"
    write(chips / "energy1_input", 7_510_157_000_000)
    write(chips / "energy7_input", 21_290_426_000_000)
    counted = [new - old for old, new in zip(before, meter.read(S), strict=True)]
    assert counted == [157_000_000, 0, 0, 0, 426_000_000, 0]
    meter.close()


def test_altra_s_sockets_are_cores_and_io_together(tmp_path: Path) -> None:
    """Both gauges of a socket add up, called as the kernel numbers its package; either may go unread."""
    roots = build("altra", tmp_path)
    meter = HwmonMeter(roots)
    probe = meter.probe()
    assert [domain.name for domain in probe.domains] == ["cpu.36", "cpu.3274"]
    assert {domain.kind for domain in probe.domains} == {report_pb2.SOURCE_KIND_INSTANT_POWER}
    meter.read(0)
    assert list(meter.read(S)) == [85 * S, 0, 70_500_000, 0]
    io = roots.sysfs / "class/hwmon/hwmon0/power2_input"
    io.write_text("")
    assert list(meter.read(2 * S))[:2] == [(85 + 61) * S, S]
    assert [finding.name for finding in meter.findings()] == ["hwmon:cpu.36"]
    write(io, 24_000_000)
    # What was drawn between two good readings is not known.
    assert list(meter.read(3 * S))[:2] == [(85 + 61 + 61) * S, 2 * S]
    assert len(meter.offsets_uj()) == len(meter.variances_nj2()) == 2
    meter.close()


@pytest.mark.parametrize("spoilt", ["absent", "empty"])
def test_half_a_socket_is_not_booked_as_a_socket(tmp_path: Path, spoilt: str) -> None:
    """Where one of two sensors is not there or gives no number, that is said; the other socket stands."""
    roots = build("altra", tmp_path)
    io = roots.sysfs / "class/hwmon/hwmon0/power2_input"
    io.unlink()
    if spoilt == "empty":
        io.touch()
    meter = HwmonMeter(roots)
    probe = meter.probe()
    assert [domain.name for domain in probe.domains] == ["cpu.3274"]
    (finding,) = [finding for finding in probe.findings if finding.name == "hwmon:cpu.36"]
    assert finding.state == (WORKING if spoilt == "absent" else UNREADABLE)
    meter.close()


def test_what_firmware_names_is_booked_as_the_configuration_says(tmp_path: Path) -> None:
    """SCMI's sensors and power zones are told of, with how to name them; what is named is measured."""
    roots = build("altra", tmp_path)
    told = {finding.name: finding for finding in HwmonMeter(roots).probe().findings}
    assert set(told) == {
        "hwmon",
        "hwmon:scmi_sensors@scmi_dev.4",
        "hwmon:arm-scmi@arm-scmi:0",
        "hwmon:arm-scmi@arm-scmi:1",
    }
    assert "agent.hwmon.domains, as arm-scmi/SOC1=DOMAIN" in told["hwmon:arm-scmi@arm-scmi:1"].fix
    names = ["scmi_sensors/SYS_POW=node", "arm-scmi/SOC0=module.0", "scmi_sensors/DDR_ENERGY=memory.0"]
    meter = HwmonMeter(roots, frozenset({"cpu.36", "cpu.3274"}), config=HwmonConfig(domains=names))
    probe = meter.probe()
    assert [(domain.name, domain.kind) for domain in probe.domains] == [
        ("memory.0", report_pb2.SOURCE_KIND_COUNTER),
        ("node", report_pb2.SOURCE_KIND_INSTANT_POWER),
        ("module.0", report_pb2.SOURCE_KIND_AVERAGE_POWER),
    ]
    before = meter.read(0)
    counted = [new - old for old, new in zip(before, meter.read(S), strict=True)]
    assert counted == [0, 0, 212 * S, 0, 85 * S, 0]
    meter.close()


@pytest.mark.parametrize("name", ["SYS_POW=node", "a/b", "a/b=disk.sda", "a/b=cpu", "a/b=node ", "a/=node"])
def test_a_name_that_names_nothing_is_refused(name: str) -> None:
    """Chip, label and a domain of the tree are needed; the error says so with the value."""
    (error,) = HwmonConfig(domains=["scmi_sensors/SYS_POW=node", name]).errors()
    assert repr(name) in error
    assert "CHIP/LABEL=DOMAIN" in error


def test_a_machine_without_sensors_is_quiet(tmp_path: Path) -> None:
    """Where hwmon has no power or energy the source is absent."""
    assert [finding.state for finding in HwmonMeter(build("vm", tmp_path)).probe().findings] == [ABSENT]


def test_this_machine() -> None:
    """Probing and reading the machine at hand never raises."""
    meter = HwmonMeter(Roots())
    probe = meter.probe()
    assert len(meter.read(S)) == len(probe.series)
    meter.close()
