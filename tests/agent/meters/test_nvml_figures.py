"""What GPUs tell besides energy, by every way in which NVML tells it."""

from pathlib import Path

import pytest

from joulebook.agent.meters.nvml_events import class_of
from joulebook.agent.source import SUSPECT, WORKING
from joulebook.v1 import report_pb2
from tests.fixtures.nvml.machine import Machine
from tests.fixtures.nvml.standin import ALL_LINKS

S = 1_000_000
# More ticks than the longest turn: everything has been asked for.
ALL = 31


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a node with a GPU that has everything, and one that has little."""
    machine = Machine(tmp_path, monkeypatch)
    machine.standin.full(0)
    return machine


def test_a_gpu_tells_everything_that_it_has(machine: Machine) -> None:
    """Every figure is in the catalogue's unit, whichever call it comes from; what others lack they lack."""
    machine.standin.set(0, xid="31,79")
    found = machine.of("gpu.0", 0, ALL)
    assert found == {
        "POWER": 100_000,
        "POWER_INSTANT": 110_000,
        "POWER_LIMIT": 650_000,
        "POWER_LIMIT_DEFAULT": 700_000,
        "UTILISATION": 500_000,
        "MEMORY_UTILISATION": 200_000,
        "ENCODER_UTILISATION": 100_000,
        "DECODER_UTILISATION": 50_000,
        "GRAPHICS_ACTIVE": 750_000,
        "SM_ACTIVE": 605_000,
        "SM_OCCUPANCY": 300_000,
        "TENSOR_ACTIVE": 122_500,
        "DRAM_ACTIVE": 400_000,
        "FP64_ACTIVE": 15_000,
        "FP32_ACTIVE": 200_000,
        "FP16_ACTIVE": 27_500,
        "INTEGER_ACTIVE": 80_000,
        "SM_CLOCK": 1_980_000,
        "MEMORY_CLOCK": 2_619_000,
        "THROTTLED_POWER": 0,
        "THROTTLED_THERMAL": 0,
        "THROTTLED_OTHER": 0,
        "MEMORY_USED": 1 << 30,
        "TEMPERATURE": 40_000,
        "MEMORY_TEMPERATURE": 50_000,
        "PCIE_RECEIVED": 5000,
        "PCIE_SENT": 3000,
        "PCIE_REPLAYS": 2,
        "PCIE_LINK_GENERATION": 5,
        "PCIE_LINK_WIDTH": 16,
        "NVLINK_RECEIVED": 2 << 20,
        "NVLINK_SENT": 1 << 20,
        "NVLINK_ERRORS": 6,
        "ECC_CORRECTED": 7,
        "ECC_UNCORRECTED": 1,
        "XID_APPLICATION": 1,
        "XID_MEMORY": 0,
        "XID_LINK": 1,
        "XID_DRIVER": 0,
        "XID_OTHER": 0,
        "XID_LAST": 79,
    }
    assert set(machine.of("gpu.1", 0)) == {
        "POWER",
        "UTILISATION",
        "MEMORY_UTILISATION",
        "THROTTLED_POWER",
        "THROTTLED_THERMAL",
        "THROTTLED_OTHER",
        "MEMORY_USED",
        "TEMPERATURE",
    }


def test_what_fields_do_not_tell_calls_do(machine: Machine) -> None:
    """Older drivers tell errors, replays and PCIe rates by calls of their own; rates count for their time."""
    machine.standin.set(1, ecc_corrected=3, ecc_uncorrected=2, pcie_replays=4, pcie_throughput=50)
    machine.standin.put({"1.pcie_throughput.1": 80})
    machine.read(0)
    machine.of("gpu.1", 0, ALL)
    found = machine.of("gpu.1", 10 * S, ALL)
    assert (found["ECC_CORRECTED"], found["ECC_UNCORRECTED"], found["PCIE_REPLAYS"]) == (3, 2, 4)
    assert (found["PCIE_RECEIVED"], found["PCIE_SENT"]) == (800_000, 500_000)


def test_profiling_tells_rates_where_nothing_counts_bytes(machine: Machine) -> None:
    """MiB a second over the time between two samples become bytes."""
    for number in (197, 198):
        machine.standin.put({f"0.field.{number}": None})
    machine.standin.put({f"0.field.{number}.{ALL_LINKS}": None for number in (138, 139)})
    machine.standin.put({"0.gpm.20": 1, "0.gpm.21": 2, "0.gpm.60": 3, "0.gpm.61": 0.5})
    machine.of("gpu.0", 0, ALL)
    found = machine.of("gpu.0", 4 * S, ALL)
    assert [found[f"PCIE_{way}"] >> 20 for way in ("SENT", "RECEIVED")] == [4, 8]
    assert [found[f"NVLINK_{way}"] >> 20 for way in ("SENT", "RECEIVED")] == [2, 12]


def test_counts_go_on_when_the_driver_counts_from_0(machine: Machine) -> None:
    """Errors counted since the driver was loaded never fall."""
    machine.of("gpu.0", 0, ALL)
    machine.standin.put({"0.field.3": 2})
    assert machine.of("gpu.0", S, ALL)["ECC_CORRECTED"] == 9


@pytest.mark.parametrize("gpm", ["nan", "-1", "1e300", "!999"])
def test_profiling_figures_that_cannot_be_are_left_out(machine: Machine, gpm: str) -> None:
    """A share that is no number, or negative, keeps the last one; one beyond the whole is the whole."""
    machine.of("gpu.0", 0, ALL)
    machine.standin.put({"0.gpm.2": gpm})
    found = machine.of("gpu.0", S, ALL)
    assert found["SM_ACTIVE"] == (1_000_000 if gpm == "1e300" else 605_000)
    assert found["SM_OCCUPANCY"] == 300_000


def test_each_xid_counts_once_and_grave_ones_are_told_of(machine: Machine) -> None:
    """Events are counted by class as they come; one that does not pass makes the GPU suspect, with a fix."""
    machine.read(0)
    assert machine.meter.findings() == ()
    machine.standin.set(0, xid="13,13,48")
    found = machine.of("gpu.0", S)
    assert (found["XID_APPLICATION"], found["XID_MEMORY"], found["XID_LAST"]) == (2, 1, 48)
    assert machine.of("gpu.0", 2 * S)["XID_APPLICATION"] == 2
    said = machine.states()["nvml:gpu.0"]
    assert (said.state, said.reason) == (SUSPECT, "XID 48: an uncorrectable memory error")
    assert "reset" in said.fix
    assert "nvml:gpu.1" not in machine.said


@pytest.mark.parametrize(("xid", "place"), [(31, 0), (94, 1), (79, 2), (145, 2), (119, 3), (999, 4)])
def test_every_xid_has_a_class(xid: int, place: int) -> None:
    """Known numbers have the class of their cause, others are counted as such."""
    assert class_of(xid) == place


@pytest.fixture
def superchips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return two superchips, whose GPUs' counters count the whole module."""
    machine = Machine(tmp_path, monkeypatch)
    for index in range(2):
        machine.standin.put({f"{index}.field.186.1": 600_000})
        topology = tmp_path / f"sys/devices/system/cpu/cpu{index}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{index}\n")
    return machine


def test_a_superchips_module_is_a_domain_of_its_own(superchips: Machine) -> None:
    """Module and GPU are integrated from their own powers, since the counter may be the module's."""
    probe = superchips.meter.probe()
    assert [domain.name for domain in probe.domains] == ["gpu.0", "module.0", "gpu.1", "module.1"]
    assert {domain.kind for domain in probe.domains} == {report_pb2.SOURCE_KIND_INSTANT_POWER}
    superchips.meter.read(0)
    superchips.standin.put({"1.field.186.1": 800_000, "1.power": 300_000})
    assert list(superchips.meter.read(S))[:8] == [
        *(100 * S, 0, 600 * S, 0),
        *(200 * S, 0, 700 * S, 0),
    ]


def test_modules_are_not_guessed(superchips: Machine, tmp_path: Path) -> None:
    """Where GPUs and CPUs are not one to one, no module is booked, and that is said."""
    (tmp_path / "sys/devices/system/cpu/cpu1/topology/physical_package_id").write_text("0\n")
    probe = superchips.meter.probe()
    assert [domain.name for domain in probe.domains] == ["gpu.0", "gpu.1"]
    (finding,) = [f for f in probe.findings if f.name == "nvml:module"]
    assert finding.state == WORKING
    assert "not booked" in finding.reason
