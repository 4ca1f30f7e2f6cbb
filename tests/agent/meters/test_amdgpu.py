"""AMD's GPUs by the files that the kernel's driver shows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.agent.meters.amd_gpu import parse_error_count
from joulebook.agent.meters.amdgpu import AmdGpuMeter
from joulebook.agent.meters.arbiter import Arbiter
from joulebook.agent.meters.hwmon import HwmonMeter
from joulebook.agent.source import ABSENT, SUSPECT, UNREADABLE, WORKING, Meter, Series
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from tests.fixtures.amd.node import AmdNode, J
from tests.fixtures.amdsmi.machine import until
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000
PATIENCE_S = 120


@pytest.fixture
def node(tmp_path: Path) -> AmdNode:
    """Return a node with two GPUs of the newest kind."""
    return AmdNode(tmp_path)


@pytest.fixture
def meter(node: AmdNode) -> Iterator[AmdGpuMeter]:
    """Return its meter."""
    made = AmdGpuMeter(node.roots, wait_s=PATIENCE_S)
    yield made
    made.close()


def gauges(meter: AmdGpuMeter, series: tuple[Series, ...], gpu: str, now_us: int) -> dict[str, int]:
    """Return a GPU's gauges by the ends of their names, when all had their turn at this moment."""
    for _ in range(30):
        meter.read(now_us)
    values = meter.read(now_us)
    return {
        metrics.Metric.Name(one.metric).removeprefix("METRIC_DEVICE_GPU_"): value
        for one, value in zip(series, values, strict=True)
        if one.device == gpu
    }


def test_every_gpu_is_a_domain_and_a_device(meter: AmdGpuMeter) -> None:
    """The accumulator is a counter of 2^-16 J, bounded by twice the power limit."""
    probe = meter.probe()
    assert [d.name for d in probe.domains] == [d.name for d in probe.devices] == ["gpu.0", "gpu.1"]
    assert {(d.kind, d.limit_mw) for d in probe.domains} == {(report_pb2.SOURCE_KIND_COUNTER, 1_500_000)}
    assert {(d.size_bytes, d.power_limit_mw) for d in probe.devices} == {(192 << 30, 750_000)}
    assert [(f.name, f.state) for f in probe.findings] == [("amdgpu", WORKING)]


def test_joules_are_what_the_accumulator_grew_by(node: AmdNode, meter: AmdGpuMeter) -> None:
    """Units of 2^-16 J become µJ, and nothing else is booked."""
    meter.probe()
    assert list(meter.read(0))[:4] == [1000 * S, 0, 1000 * S, 0]
    node.show(1, energy_accumulator=1200 * J)
    assert list(meter.read(S))[:4] == [1000 * S, 0, 1200 * S, 0]
    assert meter.offsets_uj() == (0, 0)


def test_how_a_gpu_fares(node: AmdNode, meter: AmdGpuMeter) -> None:
    """Each figure is in the catalogue's unit; time held back is the firmware's share of its ticks."""
    series = meter.probe().series
    meter.read(0)
    node.show(
        0,
        accumulation_counter=2000,
        ppt_residency_acc=250,
        vr_thm_residency_acc=100,
        current_gfxclk=[900, 1800],
    )
    assert gauges(meter, series, "gpu.0", 4 * S) == {
        "POWER": 200_000,
        "POWER_LIMIT": 750_000,
        "POWER_LIMIT_DEFAULT": 750_000,
        "UTILISATION": 900_000,
        "MEMORY_UTILISATION": 300_000,
        "MEMORY_USED": 1 << 30,
        "TEMPERATURE": 60_000,
        "MEMORY_TEMPERATURE": 70_000,
        "SM_CLOCK": 1_800_000,
        "MEMORY_CLOCK": 1_600_000,
        "PCIE_LINK_GENERATION": 5,
        "PCIE_LINK_WIDTH": 16,
        "PCIE_REPLAYS": 3,
        "ECC_CORRECTED": 5,
        "ECC_UNCORRECTED": 1,
        "THROTTLED_POWER": S,
        "THROTTLED_THERMAL": 4 * S // 10,
    }


def test_an_old_gpu_is_metered_by_its_power(tmp_path: Path) -> None:
    """A table whose accumulator has no known unit is not believed; throttling is what is seen."""
    node = AmdNode(tmp_path, revision=(1, 3))
    meter = AmdGpuMeter(node.roots, wait_s=PATIENCE_S)
    probe = meter.probe()
    assert {d.kind for d in probe.domains} == {report_pb2.SOURCE_KIND_AVERAGE_POWER}
    meter.read(0)
    node.sense(0, power1_average=400_000_000)
    node.show(0, indep_throttle_status=1 | 1 << 56)
    assert list(meter.read(S))[:4] == [300 * S, 0, 200 * S, 0]
    gauges(meter, probe.series, "gpu.0", S)
    began = gauges(meter, probe.series, "gpu.0", S)["THROTTLED_POWER"]
    found = gauges(meter, probe.series, "gpu.0", 3 * S)
    assert [found[f"THROTTLED_{why}"] for why in ("POWER", "THERMAL", "OTHER")] == [
        began + 2 * S,
        0,
        began + 2 * S,
    ]
    meter.close()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "0 bytes", id="empty"),
        pytest.param(b"\xff\xff\x01\x09" + bytes(500), "v1.9 is not known", id="of tomorrow"),
        pytest.param(None, "No such file", id="not there"),
    ],
)
def test_without_a_table_other_files_fill_in(
    node: AmdNode, meter: AmdGpuMeter, content: bytes | None, says: str
) -> None:
    """A GPU whose table cannot be read is told of, and metered by its sensors; the other one by its table."""
    file = node.device(0) / "gpu_metrics"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    probe = meter.probe()
    (finding,) = [f for f in probe.findings if f.name == "amdgpu:gpu.0.table"]
    assert finding.state == UNREADABLE
    assert says in finding.reason
    assert [d.kind for d in probe.domains] == [
        report_pb2.SOURCE_KIND_AVERAGE_POWER,
        report_pb2.SOURCE_KIND_COUNTER,
    ]
    found = gauges(meter, probe.series, "gpu.0", 0)
    assert (found["UTILISATION"], found["MEMORY_UTILISATION"], found["TEMPERATURE"]) == (
        550_000,
        220_000,
        48_000,
    )
    assert (found["MEMORY_TEMPERATURE"], found["SM_CLOCK"]) == (52_000, 1_700_000)


@pytest.mark.parametrize(
    "accumulator", [pytest.param(0, id="it stands still"), pytest.param(1400, id="it runs off")]
)
def test_a_counter_that_the_power_does_not_bear_out_is_left(
    node: AmdNode, meter: AmdGpuMeter, accumulator: int
) -> None:
    """From a minute on power is booked instead, told of, and the energy goes on where it stood."""
    meter.probe()
    before = 0
    for second in range(0, 71, 10):
        node.show(1, energy_accumulator=(1000 + second * accumulator) * J)
        node.show(0, energy_accumulator=(1000 + second * 200) * J)
        energy = list(meter.read(second * S))[:4]
        assert energy[2] >= before
        before = energy[2]
    changed = meter.changed()
    assert changed is not None
    assert [d.kind for d in changed.domains] == [
        report_pb2.SOURCE_KIND_COUNTER,
        report_pb2.SOURCE_KIND_AVERAGE_POWER,
    ]
    (finding,) = changed.findings
    assert (finding.name, finding.state) == ("amdgpu:gpu.1.counter", SUSPECT)
    assert "from here on the power is booked" in finding.reason
    assert meter.changed() is None
    assert list(meter.read(80 * S))[2] == before + 10 * 200 * S
    assert meter.offsets_uj()[1] == 0


def test_a_gpu_that_vanishes_takes_nothing_from_the_other(node: AmdNode, meter: AmdGpuMeter) -> None:
    """What cannot be read any more is unread time, told of, and made up for by the counter afterwards."""
    meter.probe()
    meter.read(0)
    (node.sensors(0) / "power1_average").write_text("")
    node.show(1, energy_accumulator=1100 * J)
    assert list(meter.read(S))[:4] == [1000 * S, 0, 1100 * S, 0]
    (finding,) = meter.findings()
    assert (finding.name, finding.state) == ("amdgpu:gpu.0", UNREADABLE)
    node.sense(0, power1_average=200_000_000)
    node.show(0, energy_accumulator=1300 * J)
    assert list(meter.read(2 * S))[:2] == [1300 * S, 0]
    assert [f.state for f in meter.findings()] == [WORKING]


def test_files_that_are_gone_are_opened_anew(node: AmdNode, meter: AmdGpuMeter) -> None:
    """After the driver was loaded again the old files tell nothing; the new ones are found by themselves."""
    meter.probe()
    assert list(meter.read(0))[:4] == [1000 * S, 0, 1000 * S, 0]
    sensors = node.sensors(0)
    # A descriptor that is still open reads what it read last: emptied, it is as one whose device is gone.
    for file in (sensors / "power1_average", node.device(0) / "gpu_metrics"):
        content = file.read_bytes()
        file.write_bytes(b"")
        file.unlink()
        file.write_bytes(content)
    assert list(meter.read(S))[:4] == [1000 * S, 0, 1000 * S, 0]
    assert [(f.name, f.state) for f in meter.findings()] == [("amdgpu:gpu.0", UNREADABLE)]
    node.show(0, energy_accumulator=1100 * J)

    def is_back() -> bool:
        meter.read(30 * S)
        assert meter.changed() is None
        return meter.read(30 * S)[0] == 1100 * S

    until(is_back)
    assert [(f.name, f.state) for f in meter.findings()] == [("amdgpu:gpu.0", WORKING)]


def test_processes_are_those_with_memory_there(node: AmdNode, meter: AmdGpuMeter) -> None:
    """The compute driver's processes and the share of the units that each occupies, GPU by GPU."""
    node.run(0, 11, 25)
    node.run(0, 12, 400)
    node.run(1, 12, 0)
    write(node.sysfs / "class/kfd/kfd/proc/13/vram_5000", 0)
    write(node.sysfs / "class/kfd/kfd/proc/14/vram_5000", "noise")
    meter.probe()
    assert [gpu.processes(0) for gpu in meter.gpus] == [{11: 250_000, 12: 1_000_000}, {12: 0}]
    assert [gpu.rocr_devices for gpu in meter.gpus] == [1, 1]
    assert [{*gpu.device_numbers} for gpu in meter.gpus] == [{(226, 128)}, {(226, 129)}]


def test_nothing_is_counted_twice_beside_hwmon(node: AmdNode) -> None:
    """Both meters know the GPUs; each is booked once, by the counter."""
    meters: list[Meter] = [AmdGpuMeter(node.roots, wait_s=PATIENCE_S), HwmonMeter(node.roots)]
    arbiter = Arbiter([(meter, meter.probe()) for meter in meters])
    assert [(d.name, d.source) for d in arbiter.probe().domains] == [("gpu.0", "amdgpu"), ("gpu.1", "amdgpu")]
    arbiter.close()


def test_a_gpu_within_a_processor_is_none(tmp_path: Path) -> None:
    """What has no power limit of its own is a part of a package that is metered whole."""
    meter = AmdGpuMeter(build("epyc", tmp_path), wait_s=PATIENCE_S)
    assert [d.name for d in meter.probe().domains] == ["gpu.0", "gpu.1"]
    meter.close()


def test_no_gpu_is_absence(tmp_path: Path) -> None:
    """A node without them says so once."""
    (finding,) = AmdGpuMeter(roots_of(tmp_path)).probe().findings
    assert (finding.name, finding.state) == ("amdgpu", ABSENT)


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"ue: 1\nce: 5\n", 5),
        (b"ce: 7", 7),
        (b"", None),
        (b"ce: x", None),
        (b"ce: -1", None),
        (b"\xff\0", None),
    ],
)
def test_error_counts(data: bytes, count: int | None) -> None:
    """A count is digits after its name; anything else is none."""
    assert parse_error_count(data, b"ce") == count
