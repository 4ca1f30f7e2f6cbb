"""AMD's GPUs through AMD's own bindings, on a stand-in library that can fail in every way."""

import ctypes
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.agent.meters.amdgpu import AmdGpuMeter
from joulebook.agent.meters.amdsmi import AmdsmiMeter
from joulebook.agent.meters.arbiter import Arbiter
from joulebook.agent.meters.hwmon import HwmonMeter
from joulebook.agent.source import ABSENT, SUSPECT, WORKING, Meter
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from tests.fixtures.amd.node import AmdNode, J
from tests.fixtures.amdsmi.machine import LIMIT_S, Machine
from tests.fixtures.amdsmi.standin import UNITS_A_JOULE, Standin, uuid_of
from tests.fixtures.trees import write

S = 1_000_000
STRUCTURES = (
    *("bdf", "version", "enumeration_info", "vram_usage", "power_cap_info", "engine_usage", "clk_info"),
    *("error_count", "power_info", "asic_info", "pcie_info", "proc_info", "violation_status", "gpu_metrics"),
)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Return two GPUs and their meter."""
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.meter.close()


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_stand_in_has_the_structures_of_the_bindings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What the stand-in fills in is as large as what the real bindings give it room for."""
    standin = Standin(tmp_path)
    standin.install(monkeypatch)
    wrapper = importlib.import_module("amdsmi.amdsmi_wrapper")
    library = ctypes.CDLL(str(standin.library))
    library.standin_size.restype = ctypes.c_size_t
    theirs = getattr(wrapper, f"amdsmi_{name}_t")
    assert library.standin_size(f"amdsmi_{name}_t".encode()) == ctypes.sizeof(theirs)


def test_every_gpu_is_a_domain_and_a_device(machine: Machine) -> None:
    """The accumulator is a counter of 2^-16 J, bounded by twice the power limit."""
    probe = machine.probe()
    assert [d.name for d in probe.domains] == [d.name for d in probe.devices] == ["gpu.0", "gpu.1"]
    assert {(d.source, d.kind, d.limit_mw) for d in probe.domains} == {
        ("amdsmi", report_pb2.SOURCE_KIND_COUNTER, 1_500_000)
    }
    assert {(d.size_bytes, d.power_limit_mw, d.model) for d in probe.devices} == {
        (192 << 30, 750_000, "Stand-in 300")
    }
    assert [(f.name, f.state) for f in probe.findings] == [("amdsmi", WORKING)]
    assert [gpu.uuid for gpu in machine.meter.gpus] == [uuid_of(0), uuid_of(1)]


@pytest.mark.parametrize("resolution", [None, 15.3, 15.2587890625])
def test_joules_are_what_the_accumulator_grew_by(machine: Machine, resolution: float | None) -> None:
    """Units of 2^-16 J become µJ exactly, however AMD SMI rounds the unit, and nothing else is booked."""
    for index in range(2):
        machine.standin.set(index, resolution=resolution)
    assert machine.energy(0) == [1000 * S, 0, 2000 * S, 0]
    machine.standin.set(1, energy=2200 * UNITS_A_JOULE)
    assert machine.energy(S) == [1000 * S, 0, 2200 * S, 0]
    assert machine.meter.offsets_uj() == (0, 0)


def test_another_unit_is_taken_as_it_is_told(machine: Machine) -> None:
    """A counter of a microjoule a unit counts microjoules."""
    machine.standin.set(0, resolution=1, energy=5 * S)
    assert machine.energy(0)[0] == 5 * S


def test_how_a_gpu_fares(machine: Machine) -> None:
    """Each figure is in the catalogue's unit; time held back is the firmware's share of its ticks."""
    machine.standin.full(0)
    machine.of("gpu.0", 0)
    machine.standin.set(0, ticks=2000, held_power=250, held_memory=100, corrected=9, xgmi_read=4)
    assert machine.of("gpu.0", 4 * S) == {
        "POWER": 190_000,
        "POWER_INSTANT": 200_000,
        "UTILISATION": 500_000,
        "MEMORY_UTILISATION": 200_000,
        "ENCODER_UTILISATION": 50_000,
        "DECODER_UTILISATION": 50_000,
        "MEMORY_USED": 1 << 30,
        "THROTTLED_POWER": S,
        "THROTTLED_THERMAL": 4 * S // 10,
        "TEMPERATURE": 60_000,
        "MEMORY_TEMPERATURE": 70_000,
        "SM_CLOCK": 1_700_000,
        "MEMORY_CLOCK": 1_300_000,
        "POWER_LIMIT": 750_000,
        "POWER_LIMIT_DEFAULT": 760_000,
        "ECC_CORRECTED": 9,
        "ECC_UNCORRECTED": 1,
        "PCIE_REPLAYS": 3,
        "PCIE_LINK_GENERATION": 5,
        "PCIE_LINK_WIDTH": 16,
        "NVLINK_RECEIVED": 5 << 10,
        "NVLINK_SENT": 1 << 10,
    }


def test_what_a_gpu_does_not_have_is_left_out(machine: Machine) -> None:
    """A metric that is not supported has no series, and is no fault."""
    machine.standin.set(1, gfx=None, umc=2**16 - 1, cap=None, vram_used=None)
    probe = machine.probe()
    assert [metrics.Metric.Name(s.metric) for s in probe.series if s.device == "gpu.1"] == [
        "METRIC_DEVICE_GPU_POWER"
    ]
    assert [f.state for f in probe.findings] == [WORKING]
    assert len(machine.meter.read(0)) == len(probe.series)


@pytest.mark.parametrize(
    ("thing", "value", "metric"),
    [
        ("gfx", 2**16 - 1, "UTILISATION"),
        ("gfx", 2**32 - 1, "UTILISATION"),
        ("vram_used", 2**32 - 1, "MEMORY_USED"),
        ("temperature.1", 2**16 - 1, "TEMPERATURE"),
        ("temperature.1", -300, "TEMPERATURE"),
        ("temperature.2", 2**32 - 1, "MEMORY_TEMPERATURE"),
        ("clock.0", 2**32 - 1, "SM_CLOCK"),
        ("corrected", 2**64 - 1, "ECC_CORRECTED"),
        ("pcie_replays", 2**64 - 1, "PCIE_REPLAYS"),
        ("pcie_speed", 12_345, "PCIE_LINK_GENERATION"),
        ("ticks", 2**64 - 1, "THROTTLED_POWER"),
        ("cap", 2**64 - 1, "POWER_LIMIT"),
    ],
)
def test_a_value_that_stands_for_none_is_no_value(
    machine: Machine, thing: str, value: int, metric: str
) -> None:
    """Where it comes for once the last one stands; where it comes at the start there is no such series."""
    machine.standin.full(0)
    if thing == "temperature.1":
        machine.standin.set(0, **{"temperature.0": None})
    before = machine.of("gpu.0", 0)
    machine.standin.set(0, **{thing: value})
    assert machine.of("gpu.0", S) == before
    machine.meter.close()
    machine.meter = AmdsmiMeter(machine.roots, wait_s=LIMIT_S)
    machine.probe()
    assert metric in before
    assert metric not in machine.of("gpu.0", 2 * S)


@pytest.mark.parametrize(
    ("thing", "value"), [("energy", None), ("energy", 2**64 - 1), ("resolution", 0), ("resolution", 1e30)]
)
def test_without_a_counter_power_is_integrated(machine: Machine, thing: str, value: float | None) -> None:
    """A GPU whose accumulator is not supported, or absurd, is metered by its power."""
    machine.standin.set(1, **{thing: value})
    kinds = [domain.kind for domain in machine.probe().domains]
    assert kinds == [report_pb2.SOURCE_KIND_COUNTER, report_pb2.SOURCE_KIND_AVERAGE_POWER]
    machine.meter.read(0)
    machine.standin.set(1, power=400)
    assert list(machine.meter.read(S))[2:4] == [300 * S, 0]


@pytest.mark.parametrize("grows", [0, 30_000])
def test_a_counter_that_goes_apart_from_the_power_is_not_believed(machine: Machine, grows: int) -> None:
    """One that stands still, or shows what the GPU does not draw, gives way to the power; energy goes on."""
    machine.read(0)
    for second in range(1, 62):
        machine.standin.set(0, energy=(1000 + grows * second // 60) * UNITS_A_JOULE)
        machine.standin.set(1, energy=(2000 + 200 * second) * UNITS_A_JOULE)
        machine.meter.read(second * S)
    probe = machine.meter.changed()
    assert probe is not None
    assert [d.kind for d in probe.domains] == [
        report_pb2.SOURCE_KIND_AVERAGE_POWER,
        report_pb2.SOURCE_KIND_COUNTER,
    ]
    (finding,) = [f for f in probe.findings if f.state == SUSPECT]
    assert finding.name == "amdsmi:gpu.0.counter"
    assert "from here on the power is booked" in finding.reason
    before = machine.energy(61 * S)
    assert before[1] == 0
    assert machine.energy(62 * S)[0] == before[0] + 200 * S


def test_an_accumulator_of_32_bits_wraps(machine: Machine) -> None:
    """What it grew by over a wrap is booked; what fell otherwise never becomes energy."""
    machine.standin.set(0, energy=2**32 - UNITS_A_JOULE)
    machine.standin.set(1, energy=2**32 - UNITS_A_JOULE)
    begun = machine.energy(0)
    machine.standin.set(0, energy=199 * UNITS_A_JOULE)
    machine.standin.set(1, energy=2**31 - 1)
    assert machine.energy(S) == [begun[0] + 200 * S, 0, begun[2], S]
    machine.standin.set(1, energy=2**31 + 200 * UNITS_A_JOULE)
    assert machine.energy(2 * S)[2:] == [begun[2] + 200 * S + 16, S]


@pytest.mark.parametrize("has_amdsmi", [True, False])
def test_whoever_reads_a_gpu_calls_it_alike_and_counts_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_amdsmi: bool
) -> None:
    """amdsmi, amdgpu and hwmon all find the GPUs: the same names and UUIDs, and each is booked once."""
    node = AmdNode(tmp_path)
    machine = Machine(tmp_path, monkeypatch)
    if not has_amdsmi:
        machine.standin.set(init="!34")
    for index in range(2):
        node.set(index, unique_id=f"{index + 1:016x}")
        # AMD SMI lists them the other way round.
        machine.standin.set(1 - index, bdf=f"0000:{index}1:00.0", hip_uuid=uuid_of(index))
        machine.standin.set(1 - index, energy=(500 + index) * UNITS_A_JOULE)
    meters: list[Meter] = [
        machine.meter,
        AmdGpuMeter(node.roots, wait_s=LIMIT_S),
        HwmonMeter(node.roots, reads_per_s=0),
    ]
    probes = [meter.probe() for meter in meters]
    if has_amdsmi:
        told = [[(d.name, d.uuid) for d in probe.devices] for probe in probes[:2]]
        assert told[0] == told[1] == [("gpu.0", uuid_of(0)), ("gpu.1", uuid_of(1))]
        assert [gpu.domain for gpu in machine.meter.gpus] == ["gpu.0", "gpu.1"]
    arbiter = Arbiter(list(zip(meters, probes, strict=True)))
    booked = arbiter.probe()
    source = "amdsmi" if has_amdsmi else "amdgpu"
    assert [(d.name, d.source) for d in booked.domains] == [("gpu.0", source), ("gpu.1", source)]
    assert [d.name for d in booked.devices] == ["gpu.0", "gpu.1"]
    assert [s.domain for s in booked.series if s.metric == metrics.METRIC_DOMAIN_ENERGY] == ["gpu.0", "gpu.1"]
    assert next(iter(arbiter.read(0))) == (500 * S if has_amdsmi else 1000 * S)
    arbiter.close()


def test_another_meter_takes_over_where_amd_smi_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While AMD SMI gives nothing the driver's files are booked; no joule counts twice at the change."""
    node = AmdNode(tmp_path)
    machine = Machine(tmp_path, monkeypatch)
    meters: list[Meter] = [machine.meter, AmdGpuMeter(node.roots, wait_s=LIMIT_S)]
    arbiter = Arbiter([(meter, meter.probe()) for meter in meters])
    arbiter.read(0)
    for index in range(2):
        machine.standin.set(index, all=12)
    sources = []
    total_uj, before = 0, {"amdsmi": 3000 * S, "amdgpu": 2000 * S}
    for second in range(1, 400):
        for gpu in range(2):
            node.show(gpu, energy_accumulator=(1000 + 200 * second) * J)
        values = list(arbiter.read(second * S))
        domains = arbiter.probe().domains
        (source,) = {domain.source for domain in domains}
        now = sum(values[place] for place in (0, 2))
        total_uj += now - before[source]
        before[source] = now
        arbiter.findings()
        if arbiter.changed() is not None:
            (source,) = {domain.source for domain in arbiter.probe().domains}
            before[source] = sum(list(arbiter.read(second * S))[place] for place in (0, 2))
            sources.append(source)
    assert sources == ["amdgpu"]
    assert 300 * 400 * S < total_uj <= 399 * 400 * S
    arbiter.close()


def test_a_gpu_within_a_processor_is_not_booked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that has no power limit of its own is part of the package, which is metered whole."""
    node = AmdNode(tmp_path)
    (node.sensors(0) / "power1_cap").unlink()
    machine = Machine(tmp_path, monkeypatch)
    probe = machine.probe()
    assert [(d.name, d.uuid) for d in probe.devices] == [("gpu.0", uuid_of(1))]
    assert [(f.name, f.reason) for f in probe.findings][1:] == [
        ("amdsmi@0000:01:00.0", "not booked: part of a processor, which is metered whole")
    ]
    machine.meter.close()


def test_a_node_without_the_driver_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver is not there the bindings are not even imported."""
    machine = Machine(tmp_path, monkeypatch)
    write(machine.roots.sysfs / "empty", "")
    meter = AmdsmiMeter(type(machine.roots)(sysfs=tmp_path / "none", devfs=tmp_path / "none"))
    (finding,) = meter.probe().findings
    assert (finding.state, finding.reason) == (ABSENT, "no AMD GPU")
    assert list(meter.read(0)) == []
