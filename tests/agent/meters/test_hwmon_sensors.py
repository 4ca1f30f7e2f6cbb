"""How hwmon's labels and accuracies are understood."""

from pathlib import Path

import pytest

from joulebook.agent.meters.hwmon_sensors import Sensor, domain_name, parse_accuracy_ppm
from joulebook.v1 import report_pb2


@pytest.mark.parametrize(
    ("chip", "label", "has_cap", "domain"),
    [
        ("power_meter", "Module Power Socket 1", False, "module.1"),
        ("power_meter", "SysIO Power Socket 0", False, "uncore.0"),
        ("power_meter", "GPU Power Socket 0", False, ""),
        ("power_meter", "", False, "node"),
        ("amd_energy", "Esocket1", False, "cpu.1"),
        ("amd_energy", "Ecore012", False, ""),
        ("amdgpu", "PPT", True, "gpu.3"),
        ("amdgpu", "PPT", False, ""),
        ("i915", "", False, "gpu.3"),
        ("i915_gt1", "", False, ""),
        ("xe", "pkg", False, "gpu.3"),
        ("ina226", "VDD", False, ""),
        ("ibmpowernv", "System", False, "node"),
        ("ibmpowernv", "Chip 8", False, "cpu.8"),
        ("ibmpowernv", "Chip 8 Vdd", False, ""),
        ("ibmpowernv", "APSS 15", False, ""),
        ("apm_xgene", "CPU power", False, "cpu.36"),
        ("apm_xgene", "IO power", False, "cpu.36"),
        ("scmi_sensors", "SYS_POW", False, ""),
    ],
)
def test_domain_names(chip: str, label: str, has_cap: bool, domain: str) -> None:
    """A sensor names a domain only where chip and label leave no doubt."""
    sensor = Sensor(Path("d"), Path("p"), chip, label, report_pb2.SOURCE_KIND_COUNTER)
    assert domain_name(sensor, 3, has_cap, 36) == domain


@pytest.mark.parametrize(
    ("text", "accuracy_ppm"),
    [(b"95.0%\n", 50_000), (b"2.5%", 25_000), (b"100.0%", 50_000), (b"", 50_000), (b"good", 50_000)],
)
def test_accuracy_is_read_either_way(text: bytes, accuracy_ppm: int) -> None:
    """95 % right and 5 % wrong are the same; a perfect or unreadable one is not believed."""
    assert parse_accuracy_ppm(text) == accuracy_ppm
