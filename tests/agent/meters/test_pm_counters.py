"""Cray's counters: scans, restarts, controllers that stop, files that are cut off."""

import os
import shutil
from pathlib import Path

import pytest

from joulebook.agent.meters.pm_counters import PmCounters
from joulebook.agent.source import ABSENT, SUSPECT, UNREADABLE, WORKING, Finding, Roots
from joulebook.v1 import report_pb2
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000
J = 1_000_000


class Blade:
    """The controller's side of the files."""

    def __init__(self, roots: Roots) -> None:
        self.directory = roots.sysfs / "cray/pm_counters"
        self.freshness = 8219375

    def scan(self, **energy_j: int) -> None:
        """Write energies, and that a scan was made."""
        for name, value in energy_j.items():
            write(self.directory / f"{name}", f"{value} J 1764432189123456 us")
        self.freshness += 10
        write(self.directory / "freshness", self.freshness)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Return a node with a CPU and four accelerators."""
    return build("cray-ex", tmp_path)


def test_every_part_is_a_domain(roots: Roots) -> None:
    """Node, CPU, memory and each accelerator are counters with a step of a joule, ten times a second."""
    meter = PmCounters(roots)
    probe = meter.probe()
    names = ["node", "gpu.0", "gpu.1", "gpu.2", "gpu.3", "cpu.0", "memory.0"]
    assert [domain.name for domain in probe.domains] == names
    node = probe.domains[0]
    assert (node.kind, node.resolution_uj, node.period_us) == (report_pb2.SOURCE_KIND_COUNTER, J, 100_000)
    assert [finding.state for finding in probe.findings] == [WORKING]
    assert meter.read(0)[:2] == [612345678 * J, 0]
    meter.close()


def test_energy_grows_by_the_counter(roots: Roots) -> None:
    """What a scan adds is what the domain gained."""
    blade, meter = Blade(roots), PmCounters(roots)
    meter.probe()
    first = meter.read(0)
    blade.scan(energy=612345678 + 1174, accel2_energy=111111112 + 215)
    second = meter.read(S)
    assert [after - before for before, after in zip(first, second, strict=True)] == [
        *(1174 * J, 0),
        *(0, 0),
        *(0, 0),
        *(215 * J, 0),
        *(0, 0),
        *(0, 0),
        *(0, 0),
    ]
    assert meter.findings() == ()
    assert meter.offsets_uj() == (0,) * 7
    meter.close()


def test_a_controller_that_stops_is_stale_and_loses_nothing_when_it_goes_on(roots: Roots) -> None:
    """Old values are not repeated as fresh: they miss, with the reason; the energy meanwhile counts later."""
    blade, meter = Blade(roots), PmCounters(roots)
    meter.probe()
    start_uj = meter.read(0)[0]
    for second in range(1, 4):
        meter.read(second * S)
    assert meter.findings() == ()
    meter.read(4 * S)
    findings = {finding.name: finding for finding in meter.findings()}
    assert findings["pm_counters:node"].state == UNREADABLE
    assert "stale: the controller has not scanned for 4 s" in findings["pm_counters:node"].reason
    assert "controller" in findings["pm_counters:node"].fix
    blade.scan(energy=612345678 + 5000)
    assert meter.read(5 * S)[:2] == [start_uj + 5000 * J, 0]
    assert {finding.state for finding in meter.findings()} == {WORKING}
    meter.close()


def test_a_stop_that_lasts_is_unread_time(roots: Roots) -> None:
    """A node whose controller is silent for minutes has that long without a meter, not without energy."""
    meter = PmCounters(roots)
    meter.probe()
    start_uj = meter.read(0)[0]
    energy_uj, unread_us = meter.read(0)[:2]
    for second in range(1, 121):
        energy_uj, unread_us = meter.read(second * S)[:2]
    assert energy_uj == start_uj
    # Believed until the scan was 3 s old.
    assert unread_us == 117 * S
    meter.close()


def test_a_restart_is_no_energy(roots: Roots) -> None:
    """Counters that begin again, even above their old values, give no joule of the restart."""
    blade, meter = Blade(roots), PmCounters(roots)
    meter.probe()
    start_uj = meter.read(0)[0]
    write(blade.directory / "startup", 1763999999000000)
    blade.scan(energy=612345678 + 900, cpu_energy=3)
    values = meter.read(S)
    assert values[:2] == [start_uj, S]
    assert {finding.state for finding in meter.findings()} == {SUSPECT}
    blade.scan(energy=612345678 + 900 + 1000, cpu_energy=3 + 170)
    values = meter.read(2 * S)
    assert values[:2] == [start_uj + 1000 * J, S]
    assert values[10] == (98765432 + 170) * J
    assert {finding.state for finding in meter.findings()} == {WORKING}
    meter.close()


@pytest.mark.parametrize("data", ["", "6123", "612345699 W 1 us", "\x00\x01", "9" * 80, "nan J 1 us"])
def test_a_spoilt_file_only_misses(roots: Roots, data: str) -> None:
    """One domain's bad file is told of, takes nothing from the others, and is made up for later."""
    blade, meter = Blade(roots), PmCounters(roots)
    meter.probe()
    first = list(meter.read(0))
    blade.scan(memory_energy=41234567 + 64)
    (blade.directory / "energy").write_text(data)
    second = list(meter.read(S))
    assert second[0] == first[0]
    assert second[12] == first[12] + 64 * J
    assert [(f.name, f.state) for f in meter.findings()] == [("pm_counters:node", UNREADABLE)]
    blade.scan(energy=612345678 + 2348)
    assert meter.read(2 * S)[:2] == [first[0] + 2348 * J, 0]
    meter.close()


def test_an_impossible_jump_is_dropped(roots: Roots) -> None:
    """A counter that leaps by more than a node can draw gives no joule."""
    blade, meter = Blade(roots), PmCounters(roots)
    meter.probe()
    start_uj = meter.read(0)[0]
    blade.scan(energy=612345678 + 65535 * 1000)
    assert meter.read(S)[0] == start_uj
    assert "cannot follow" in next(f.reason for f in meter.findings() if f.name == "pm_counters:node")
    meter.close()


def test_readings_of_two_scans_are_not_mixed(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a scan happens while the files are read, all are read anew."""
    blade, meter = Blade(roots), PmCounters(roots)
    meter.probe()
    first = list(meter.read(0))
    real, calls = os.pread, 0

    def pread(fd: int, size: int, offset: int) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 4:
            blade.scan(energy=612345678 + 1000, memory_energy=41234567 + 50)
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    second = meter.read(S)
    assert (second[0] - first[0], second[12] - first[12]) == (1000 * J, 50 * J)
    meter.close()


def test_a_counter_beside_its_power(roots: Roots) -> None:
    """Energy that goes apart from the power shown is suspect, by so much; a spoilt power says nothing."""
    blade, meter = Blade(roots), PmCounters(roots)
    meter.probe()

    def told() -> list[Finding]:
        return [finding for finding in meter.findings() if finding.name == "pm_counters:node"]

    energy_j = 612345678
    for second in range(62):
        energy_j += 1174
        blade.scan(energy=energy_j)
        meter.read(second * S)
    assert told() == []
    for second in range(62, 190):
        blade.scan()
        meter.read(second * S)
    (finding,) = told()
    assert finding.state == SUSPECT
    assert "the counter shows 0 J, the power" in finding.reason
    assert finding.off_ppm == 1_000_000
    (blade.directory / "power").write_text("12 parrots")
    for second in range(190, 320):
        energy_j += 1174
        blade.scan(energy=energy_j)
        meter.read(second * S)
    (blade.directory / "power").write_text("1174 W 1 us\n")
    for second in range(320, 400):
        energy_j += 1174
        blade.scan(energy=energy_j)
        meter.read(second * S)
    assert [finding.state for finding in told()] == [WORKING]
    meter.close()


def test_the_directory_may_vanish(roots: Roots) -> None:
    """Files that go away after they were opened are read on; a new probe finds them absent."""
    meter = PmCounters(roots)
    meter.probe()
    start_uj = meter.read(0)[0]
    shutil.rmtree(roots.sysfs / "cray")
    assert meter.read(S)[0] == start_uj
    assert [finding.state for finding in meter.probe().findings] == [ABSENT]
    assert list(meter.read(2 * S)) == []
    meter.close()


def test_without_freshness_it_cannot_be_told_what_is_new(roots: Roots) -> None:
    """A tree that lacks what tells of scans is unreadable, by the file's name."""
    (roots.sysfs / "cray/pm_counters/freshness").unlink()
    (finding,) = PmCounters(roots).probe().findings
    assert finding.state == UNREADABLE
    assert "freshness" in finding.reason


def test_a_machine_without_pm_counters_is_quiet(tmp_path: Path) -> None:
    """Elsewhere the source is absent and reads nothing, on a made tree and on the machine at hand."""
    for roots in (roots_of(tmp_path), Roots()):
        meter = PmCounters(roots)
        assert [finding.state for finding in meter.probe().findings] == [ABSENT]
        assert list(meter.read(0)) == []
