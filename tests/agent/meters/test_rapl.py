"""RAPL zones of several kinds of machines."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from joulebook.agent.mending import FIX_PERMISSION
from joulebook.agent.meters.health import WHOLLY_OFF_PPM
from joulebook.agent.meters.rapl import FIX_MASKED, RaplMeter, domain_name, parse_energy
from joulebook.agent.source import ABSENT, SUSPECT, UNREADABLE, WORKING, Roots
from joulebook.v1 import metrics_pb2, report_pb2
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up the rights of root for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("kind", "domains"),
    [
        ("xeon-2s", ["cpu.0", "memory.0", "cpu.1", "memory.1"]),
        ("epyc", ["cpu.0", "cpu.1"]),
        ("epyc-dies", ["cpu.0", "cpu.1"]),
        ("granite", ["cpu.1", "memory.1", "cpu.0", "memory.0", "psys"]),
        ("laptop", ["cpu.0", "core.0", "uncore.0", "psys"]),
        (
            "xeon-dies",
            [f"{part}.{package}.{die}" for package in "01" for die in "01" for part in ("cpu", "memory")]
            + ["psys"],
        ),
    ],
)
def test_every_zone_is_a_domain_once(tmp_path: Path, kind: str, domains: list[str]) -> None:
    """Zones become domains of the containment tree; copies of them do not, nor AMD cores."""
    meter = RaplMeter(build(kind, tmp_path))
    probe = meter.probe()
    assert [domain.name for domain in probe.domains] == domains
    assert [finding.state for finding in probe.findings] == [WORKING]
    assert [(series.metric, series.domain) for series in probe.series] == [
        (metric, name)
        for name in domains
        for metric in (metrics_pb2.METRIC_DOMAIN_ENERGY, metrics_pb2.METRIC_DOMAIN_UNREAD)
    ]
    assert len(meter.read(0)) == 2 * len(domains)
    assert meter.offsets_uj() == (0,) * len(domains)
    meter.close()


def test_a_domain_tells_its_meter(tmp_path: Path) -> None:
    """Range, limit and kind come from the zone."""
    meter = RaplMeter(build("xeon-2s", tmp_path))
    package = meter.probe().domains[0]
    assert package.kind == report_pb2.SOURCE_KIND_COUNTER
    assert (package.range_uj, package.limit_mw, package.period_us) == (262143328850, 500_000, 1000)
    meter.close()


def test_energy_follows_the_counter_through_a_wrap(tmp_path: Path) -> None:
    """A package's energy grows by what its counter grew, across the wrap."""
    roots = build("xeon-2s", tmp_path)
    energy = roots.sysfs / "class/powercap/intel-rapl:0/energy_uj"
    write(energy, 262143328850 - 100)
    meter = RaplMeter(roots)
    meter.probe()
    start_uj = meter.read(0)[0]
    write(energy, 400)
    assert list(meter.read(S)[:2]) == [start_uj + 500, 0]
    assert meter.offsets_uj()[0] == 0
    meter.close()


def test_a_zone_that_jumps_on_and_on_is_suspect_and_loses_nothing(tmp_path: Path) -> None:
    """Of energies that no package can have reached some are told as glitches, many as a meter that is off."""
    roots = build("xeon-2s", tmp_path)
    energy = roots.sysfs / "class/powercap/intel-rapl:0/energy_uj"
    write(energy, 0)
    meter = RaplMeter(roots)
    meter.probe()
    said = []
    for second in range(20):
        write(energy, second * 100 * S + (200_000 * S if second % 2 else 0))
        values = meter.read(second * S)
        said += [one for one in meter.findings() if one.name == "rapl:cpu.0"]
    assert [one.state for one in said] == [SUSPECT, WORKING] * 4 + [SUSPECT]
    assert (said[-1].off_ppm, said[0].off_ppm) == (WHOLLY_OFF_PPM, 0)
    assert list(values[:2]) == [18 * 100 * S, 0]
    meter.close()


def test_mmio_is_read_where_it_is_alone(tmp_path: Path) -> None:
    """A package that only MMIO shows is measured by it."""
    roots = roots_of(tmp_path)
    zone = roots.sysfs / "class/powercap/intel-rapl-mmio:0"
    write(zone / "name", "package-0")
    write(zone / "energy_uj", 77)
    meter = RaplMeter(roots)
    assert [domain.name for domain in meter.probe().domains] == ["cpu.0"]
    assert list(meter.read(0)) == [77, 0]
    meter.close()


@pytest.mark.parametrize(
    ("name", "parent", "domain"),
    [
        (b"package-0", b"", "cpu.0"),
        (b"package-1-die-2", b"", "cpu.1.2"),
        (b"dram", b"package-1-die-2", "memory.1.2"),
        (b"core", b"package-3", "core.3"),
        (b"uncore", b"package-0", "uncore.0"),
        (b"psys", b"", "psys"),
        (b"psys-1", b"", "psys"),
        (b"dram", b"", ""),
        (b"gpu-next", b"package-0", ""),
    ],
)
def test_zone_names(name: bytes, parent: bytes, domain: str) -> None:
    """Each zone has one domain name, distinct for each die."""
    assert domain_name(name, parent) == domain


@pytest.mark.parametrize(
    ("name", "parent", "domain"),
    [
        (b"package-1-die-7", b"", "cpu.1"),
        (b"core", b"package-1-die-7", ""),
        (b"package-1", b"", "cpu.1"),
    ],
)
def test_zone_names_of_packages_with_one_counter(name: bytes, parent: bytes, domain: str) -> None:
    """All dies are the package, and a core that is one of many is no domain."""
    assert domain_name(name, parent, one_counter=True) == domain


def test_a_counter_that_is_shown_once_a_die_counts_once(tmp_path: Path) -> None:
    """AMD's package is read at one of its dies, which is said; where that cannot be read, at another."""
    roots = build("epyc-dies", tmp_path)
    meter = RaplMeter(roots)
    (finding,) = meter.probe().findings
    assert "each shows the counter of the whole package" in finding.reason
    assert list(meter.read(0)) == [10360237493, 0, 20360237493, 0]
    meter.close()
    write(roots.sysfs / "class/powercap/intel-rapl:8/energy_uj", "")
    meter = RaplMeter(roots)
    probe = meter.probe()
    assert [domain.name for domain in probe.domains] == ["cpu.0", "cpu.1"]
    assert probe.findings[1].reason.endswith("intel-rapl:9 is read instead")
    meter.close()


def test_a_zone_that_goes_away_only_misses(tmp_path: Path) -> None:
    """One zone's failure leaves the others alone, is told, and loses no energy when it returns."""
    roots = build("xeon-2s", tmp_path)
    gone = roots.sysfs / "class/powercap/intel-rapl:0/energy_uj"
    other = roots.sysfs / "class/powercap/intel-rapl:1/energy_uj"
    meter = RaplMeter(roots)
    meter.probe()
    first = meter.read(0)
    assert meter.findings() == ()
    gone.write_text("")
    write(other, 151234567890 + 1000)
    second = meter.read(S)
    assert second[0] == first[0]
    assert second[4] == first[4] + 1000
    assert [(finding.name, finding.state) for finding in meter.findings()] == [("rapl:cpu.0", UNREADABLE)]
    write(gone, 141234567890 + 3000)
    assert list(meter.read(2 * S)[:2]) == [first[0] + 3000, 0]
    assert [(finding.name, finding.state) for finding in meter.findings()] == [("rapl:cpu.0", WORKING)]
    meter.close()


def test_probing_again_keeps_the_series(tmp_path: Path) -> None:
    """A second probe goes on with the counters of the first, so energy never falls."""
    roots = build("xeon-2s", tmp_path)
    energy = roots.sysfs / "class/powercap/intel-rapl:0/energy_uj"
    write(energy, 262143328850)
    meter = RaplMeter(roots)
    meter.probe()
    start_uj = meter.read(0)[0]
    write(energy, 400)
    meter.probe()
    assert meter.read(S)[0] == start_uj + 400
    meter.close()


def test_a_zone_for_root_only_names_the_fix() -> None:
    """A zone that only root may read is unreadable with the capability it takes; the others work."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        roots = build("xeon-2s", Path(directory))
        for zone in ("intel-rapl:0", "intel-rapl-mmio:0"):
            (roots.sysfs / "class/powercap" / zone / "energy_uj").chmod(0)
        meter = RaplMeter(roots)
        with unprivileged():
            probe = meter.probe()
        meter.close()
    assert [domain.name for domain in probe.domains] == ["memory.0", "cpu.1", "memory.1"]
    unreadable = [finding for finding in probe.findings if finding.state == UNREADABLE]
    assert {(finding.name, finding.fix) for finding in unreadable} == {("rapl:cpu.0", FIX_PERMISSION)}


def test_hidden_zones_name_the_fix(tmp_path: Path) -> None:
    """In a container that hides powercap's devices, the dangling zones are told apart from absence."""
    powercap = tmp_path / "sys/class/powercap"
    powercap.mkdir(parents=True)
    (powercap / "intel-rapl:0").symlink_to("../../devices/virtual/powercap/intel-rapl/intel-rapl:0")
    (finding,) = RaplMeter(roots_of(tmp_path)).probe().findings
    assert (finding.state, finding.fix) == (UNREADABLE, FIX_MASKED)


def test_a_machine_without_rapl_is_quiet(tmp_path: Path) -> None:
    """Where there is no powercap the source is absent and reads nothing."""
    meter = RaplMeter(build("vm", tmp_path))
    probe = meter.probe()
    assert [finding.state for finding in probe.findings] == [ABSENT]
    assert list(meter.read(0)) == []


def test_this_machine() -> None:
    """Probing and reading the machine at hand never raises."""
    meter = RaplMeter(Roots())
    probe = meter.probe()
    assert len(meter.read(S)) == len(probe.series)
    meter.close()


def test_parse_energy() -> None:
    """The kernel's line end is no part of the number."""
    assert parse_energy(b"123456\n") == 123456


def test_another_way_stands_in_for_a_zone_that_cannot_be_read(tmp_path: Path) -> None:
    """Where the zone by MSR gives no number, the same package by MMIO is read, and that is said."""
    roots = build("xeon-2s", tmp_path)
    write(roots.sysfs / "class/powercap/intel-rapl:0/energy_uj", "")
    meter = RaplMeter(roots)
    probe = meter.probe()
    assert "cpu.0" in [domain.name for domain in probe.domains]
    (found,) = [finding for finding in probe.findings if finding.name == "rapl:cpu.0"]
    assert found.state == WORKING
    assert found.reason.endswith("intel-rapl-mmio:0 is read instead")
    meter.close()
