"""What Prometheus may read of each device: the newest figures of what was asked for, and no more."""

import time
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest

from joulebook.collector.api.devices import DeviceFigures
from joulebook.collector.config import CollectorConfig
from joulebook.v1 import ingest_pb2, report_pb2
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1.ingest_pb2_grpc import IngestServiceStub
from joulebook.v1.naming import layout_hash
from tests.collector.api.test_exposition import samples_of
from tests.simulated.collector import LiveCollector
from tests.simulated.delivery import decoded
from tests.simulated.node import BOOT, Load, SimulatedNode

_ALSO = {
    (m.METRIC_DEVICE_GPU_POWER, "gpu.0"): 412_345,
    (m.METRIC_DEVICE_GPU_UTILISATION, "gpu.0"): 250_000,
    (m.METRIC_DEVICE_GPU_SM_CLOCK, "gpu.0"): 1_980_000,
    (m.METRIC_DEVICE_GPU_TEMPERATURE, "gpu.0"): 40_500,
    (m.METRIC_DEVICE_GPU_THROTTLED_POWER, "gpu.0"): 300_000,
    (m.METRIC_DEVICE_RECEIVED, "eno1"): 1000,
}


def _node(name: str = "n1", **given: object) -> SimulatedNode:
    node = SimulatedNode(name=name, also=_ALSO, **given)  # type: ignore[arg-type]
    node.begin([Load("run.abc", cpu_us=1_000_000, io_bytes=512)])
    return node


def _reports(node: SimulatedNode, count: int = 1) -> list[report_pb2.Report]:
    reports = []
    for _ in range(count):
        node.tick()
        node.tick()
        reports.append(node.report())
    return reports


def _now_us(node: SimulatedNode) -> int:
    return node.wall_us + node.now_us - 50_000_000


def test_figures_are_exact_in_base_units_and_named_as_in_the_catalogue() -> None:
    """Each series of the kinds asked for, and none of others, has its newest value with nothing rounded."""
    node = _node()
    figures = DeviceFigures(["gpu", "domain"], 1000)
    figures.booked(decoded(node, _reports(node, 2)))
    samples = samples_of(figures.text(_now_us(node)))
    gpu = '{node="n1",device="gpu.0"}'
    assert {key: value for key, value in samples.items() if "_device_" in key} == {
        f"joulebook_device_gpu_power_watts{gpu}": "412.345",
        f"joulebook_device_gpu_utilisation_ratio{gpu}": "0.250000",
        f"joulebook_device_gpu_sm_clock_hertz{gpu}": "1980000000",
        f"joulebook_device_gpu_temperature_celsius{gpu}": "40.500",
        f"joulebook_device_gpu_throttled_power_seconds_total{gpu}": "1.200000",
    }
    memory = '{node="n1",domain="memory.0"}'
    # It began at 2000 J and draws 6 J a tick.
    assert samples[f"joulebook_domain_energy_joules_total{memory}"] == "2024.000000"
    assert samples["joulebook_exposition_left_out_nodes"] == "0"


def test_the_newest_report_counts_whenever_it_comes() -> None:
    """One that was late takes nothing back; a device that left is told of no more, another one is."""
    node = _node()
    first, second, third = _reports(node, 3)
    figures = DeviceFigures(["disk", "network"], 1000)

    def received() -> str:
        samples = samples_of(figures.text(_now_us(node)))
        return samples['joulebook_device_received_bytes_total{node="n1",device="eno1"}']

    figures.booked(decoded(node, [second]))
    assert received() == "4000"
    figures.booked(decoded(node, [third, first]))
    assert received() == "6000"
    node.also = {(m.METRIC_DEVICE_SENT, "eno2"): 7}
    node.begin([Load("run.abc")])
    figures.booked(decoded(node, _reports(node)))
    samples = samples_of(figures.text(_now_us(node)))
    assert samples['joulebook_device_sent_bytes_total{node="n1",device="eno2"}'] == "14"
    assert not any("eno1" in key for key in samples)
    assert 'joulebook_device_read_bytes_total{node="n1",device="nvme0n1"}' in samples


def test_a_silent_node_is_told_of_no_more() -> None:
    """After five minutes without a Report nobody knows what they do; it comes back with the next."""
    node = _node()
    figures = DeviceFigures(["gpu"], 1000)
    figures.booked(decoded(node, _reports(node)))
    assert "gpu.0" in figures.text(_now_us(node) + 300_000_000)
    assert "gpu.0" not in figures.text(_now_us(node) + 300_000_001)
    figures.booked(decoded(node, _reports(node)))
    assert "gpu.0" in figures.text(_now_us(node))


def test_samples_are_bounded_by_whole_nodes_and_what_is_left_out_is_counted() -> None:
    """The first nodes by name fit, with all their devices; the number of the others is told."""
    nodes = [_node(f"n{i}", boot=bytes([i]) * 16) for i in range(5)]
    figures = DeviceFigures(["gpu"], 12)
    for node in reversed(nodes):
        figures.booked(decoded(node, _reports(node)))
    samples = samples_of(figures.text(_now_us(nodes[0])))
    told = [key for key in samples if "_device_" in key]
    assert {key.partition('node="')[2][:2] for key in told} == {"n0", "n1"}
    assert len(told) == 10
    assert samples["joulebook_exposition_left_out_nodes"] == "3"


def test_what_a_device_is_can_be_joined_to_its_figures() -> None:
    """UUID, model and what it is a part of are labels of an info metric, whatever firmware calls a thing."""
    node = _node()
    (report,) = _reports(node)
    layout = report_pb2.Layout.FromString(node.layouts[report.layout_hash])
    gpu = next(device for device in layout.devices if device.name == "gpu.0")
    gpu.uuid, gpu.model = "GPU-1", 'A "fast" one\\'
    serialized = layout.SerializeToString()
    report.layout_hash = layout_hash(serialized)
    node.layouts[report.layout_hash] = serialized
    figures = DeviceFigures(["gpu"], 1000)
    figures.booked(decoded(node, [report]))
    info = '{node="n1",device="gpu.0",uuid="GPU-1",model="A \\"fast\\" one\\\\",part_of=""}'
    assert samples_of(figures.text(_now_us(node)))["joulebook_device_info" + info] == "1"


@pytest.mark.parametrize("kinds", [[], ["gpu"]])
def test_a_collector_gives_what_its_configuration_asks_for(tmp_path: Path, kinds: list[str]) -> None:
    """By default devices are not at /metrics; where they are, from the first Report on."""
    node = _node(boot=BOOT, wall_us=time.time_ns() // 1000)
    (report,) = _reports(node)
    with (
        LiveCollector(tmp_path / "books", metrics_devices=kinds) as live,
        grpc.insecure_channel(live.addresses.grpc) as channel,
    ):
        requests = [
            ingest_pb2.StreamReportsRequest(layouts=list(node.layouts.values())),
            ingest_pb2.StreamReportsRequest(reports=[report.SerializeToString()]),
        ]
        answers = list(IngestServiceStub(channel).StreamReports(iter(requests)))
        assert [ack.code for answer in answers for ack in answer.acks] == [0]
        with urlopen(f"http://{live.addresses.http}/metrics") as answer:
            samples = samples_of(answer.read().decode())
    power = 'joulebook_device_gpu_power_watts{node="n1",device="gpu.0"}'
    assert (samples.get(power), "joulebook_exposition_left_out_nodes" in samples) == (
        ("412.345", True) if kinds else (None, False)
    )
    assert 'joulebook_account_energy_joules_total{node="n1",account="job"}' in samples


def test_the_configuration_is_checked() -> None:
    """A kind that there is not, and a bound that bounds nothing, are named with what is expected."""
    wrong = CollectorConfig(metrics_devices=["gpus", "disk"], metrics_device_samples=0).errors()
    assert [line.partition(" expected")[0] for line in wrong] == [
        "collector.metrics_devices: 'gpus' is no kind:",
        "collector.metrics_device_samples = 0:",
    ]
    assert "gpu_instance" in wrong[0]
    assert CollectorConfig(metrics_devices=["source", "domain"]).errors() == []
