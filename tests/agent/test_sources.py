"""The table of sources on whole nodes."""

from pathlib import Path

import pytest

from joulebook.agent.sources import probe_sources
from tests.fixtures.trees import KINDS, build, write


@pytest.mark.parametrize("kind", KINDS)
def test_no_domain_has_two_meters(tmp_path: Path, kind: str) -> None:
    """On every kind of node, with an ACPI meter beside what it has, each domain is measured once."""
    roots = build(kind, tmp_path)
    write(roots.sysfs / "class/hwmon/hwmon9/name", "power_meter")
    write(roots.sysfs / "class/hwmon/hwmon9/power1_average", 230_000_000)
    sources = probe_sources(roots)
    names = [domain.name for _, probe in sources.probed for domain in probe.domains]
    assert len(names) == len(set(names))
    sources.close()


def test_cray_nodes_are_measured_by_their_controller(tmp_path: Path) -> None:
    """pm_counters is the node's root before an ACPI meter, and nothing that it measures is modelled."""
    roots = build("cray-ex", tmp_path)
    write(roots.sysfs / "class/hwmon/hwmon0/name", "power_meter")
    write(roots.sysfs / "class/hwmon/hwmon0/power1_average", 230_000_000)
    sources = probe_sources(roots)
    by_source = {domain.name: domain.source for _, probe in sources.probed for domain in probe.domains}
    assert set(by_source.values()) == {"pm_counters"}
    assert "node" in by_source
    sources.close()
