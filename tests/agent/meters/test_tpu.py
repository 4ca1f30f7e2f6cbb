"""TPUs by the runtime's service, on the stubs that Google publishes, and power made of what it tells."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.tpu import TpuMeter
from joulebook.agent.meters.tpu_config import TpuConfig
from joulebook.agent.meters.tpu_wire import WireError, parse_gauges, request
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from tests.fixtures.trees import roots_of, write

# The stubs have no types of their own.
tpu_info_pb2: Any = import_module("tpu_info.proto.tpu_metric_service_pb2")
tpu_info_grpc: Any = import_module("tpu_info.proto.tpu_metric_service_pb2_grpc")

S = 1_000_000
GIB = 1 << 30
V4, V5E = ("0x005e", "0x0000"), ("0x0063", "0x0000")
LIMIT_S = 120


class Runtime(tpu_info_grpc.RuntimeMetricServiceServicer):  # type: ignore[misc]
    """The runtime's service: gauges by metric and device; what is not there is not found."""

    def __init__(self) -> None:
        self.gauges: dict[str, dict[int, float]] = {
            "tpu.runtime.tensorcore.dutycycle.percent": {0: 25.0, 1: 0.0},
            "tpu.runtime.hbm.memory.usage.bytes": {0: 3 * GIB, 1: 0},
        }

    def GetRuntimeMetric(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer as libtpu does: shares as doubles, bytes as integers."""
        if request.metric_name not in self.gauges:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such metric")
        made = tpu_info_pb2.MetricResponse()
        made.metric.name = request.metric_name
        for device, value in self.gauges[request.metric_name].items():
            one = made.metric.metrics.add()
            one.attribute.key = "device-id"
            one.attribute.value.int_attr = device
            one.timestamp.GetCurrentTime()
            if isinstance(value, float):
                one.gauge.as_double = value
            else:
                one.gauge.as_int = value
        return made


@pytest.fixture
def runtime() -> Iterator[tuple[Runtime, str]]:
    """Return the service and where it listens."""
    servicer = Runtime()
    server = grpc.server(ThreadPoolExecutor(2))
    tpu_info_grpc.add_RuntimeMetricServiceServicer_to_server(servicer, server)
    port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0).wait()


def chips(directory: Path, *kinds: tuple[str, str]) -> None:
    """Make PCI devices: TPU chips, and something else."""
    for number, (device, subsystem) in enumerate((*kinds, ("0x1234", "0x0000"))):
        place = directory / f"sys/bus/pci/devices/0000:00:0{number}.0"
        write(place / "vendor", "0x1ae0" if device != "0x1234" else "0x8086")
        write(place / "device", device)
        write(place / "subsystem_device", subsystem)


def answered(meter: TpuMeter, now_us: int) -> list[int]:
    """Read until an answer came to a question of this moment or later."""
    meter.read(now_us)
    meter.wait(LIMIT_S)
    return list(meter.read(now_us))


def test_a_chip_is_a_device_and_its_energy_is_modelled(tmp_path: Path, runtime: tuple[Runtime, str]) -> None:
    """Use and memory come from the runtime; power is idle and a part of the rest, and marked as a model."""
    chips(tmp_path, V4, V4)
    clock = [0]
    meter = TpuMeter(roots_of(tmp_path), TpuConfig(address=runtime[1]), clock=lambda: clock[0])
    probe = meter.probe()
    assert [(d.name, d.kind, d.accuracy_ppm, d.idle_power_mw) for d in probe.domains] == [
        (f"gpu.{n}", report_pb2.SOURCE_KIND_MODEL, 500_000, 90_000) for n in (0, 1)
    ]
    assert [(d.name, d.size_bytes, d.power_limit_mw) for d in probe.devices] == [
        (f"gpu.{n}", 32 * GIB, 192_000) for n in (0, 1)
    ]
    assert [metrics.Metric.Name(s.metric) for s in probe.series if s.device == "gpu.1"] == [
        "METRIC_DEVICE_GPU_UTILISATION",
        "METRIC_DEVICE_GPU_MEMORY_USED",
    ]
    assert answered(meter, 0)[4:] == [250_000, 3 * GIB, 0, 0]
    clock[0] = 5 * S
    values = answered(meter, 5 * S)
    # 90 W, and a quarter of the way to 192 W.
    assert values[:4] == [5 * 115_500_000, 0, 5 * 90_000_000, 0]
    assert {f.state for f in (*probe.findings, *meter.findings())} == {WORKING}
    meter.close()


def test_without_a_runtime_chips_rest(tmp_path: Path) -> None:
    """Where nobody listens no program uses a chip: it draws what it draws at rest."""
    chips(tmp_path, V4)
    meter = TpuMeter(roots_of(tmp_path), TpuConfig(address="127.0.0.1:1"), clock=lambda: 0)
    meter.probe()
    assert answered(meter, 0) == [0, 0, 0, 0]
    assert meter.findings() == ()
    assert list(meter.read(S))[:2] == [90_000_000, 0]
    meter.close()


def test_a_runtime_that_does_not_tell_is_told_of(tmp_path: Path, runtime: tuple[Runtime, str]) -> None:
    """An error of the service is a finding; the time for which nothing is known is unread."""
    runtime[0].gauges = {}
    chips(tmp_path, V4)
    meter = TpuMeter(roots_of(tmp_path), TpuConfig(address=runtime[1]), clock=lambda: 0)
    meter.probe()
    answered(meter, 0)
    (finding,) = meter.findings()
    assert (finding.name, finding.state) == ("tpu", UNREADABLE)
    assert "no such metric" in finding.reason
    assert list(meter.read(S))[:2] == [0, S]
    meter.close()


def test_what_a_chip_draws_may_have_to_be_told(tmp_path: Path, runtime: tuple[Runtime, str]) -> None:
    """Of a generation without published figures only use is known, until configuration tells its watts."""
    chips(tmp_path, V5E)
    meter = TpuMeter(roots_of(tmp_path), TpuConfig(address=runtime[1]), clock=lambda: 0)
    probe = meter.probe()
    assert probe.domains == ()
    (finding,) = [f for f in probe.findings if f.name == "tpu:power"]
    assert "v5e" in finding.reason
    assert "agent.tpu.idle_w" in finding.fix
    assert answered(meter, 0) == [250_000, 3 * GIB]
    meter.close()
    told = TpuMeter(roots_of(tmp_path), TpuConfig(address=runtime[1], idle_w=60, most_w=200), clock=lambda: 0)
    assert [d.idle_power_mw for d in told.probe().domains] == [60_000]
    told.close()


def test_no_chip_is_absence(tmp_path: Path) -> None:
    """A machine without a TPU asks nobody."""
    chips(tmp_path)
    meter = TpuMeter(roots_of(tmp_path))
    (finding,) = meter.probe().findings
    assert (finding.name, finding.state) == ("tpu", ABSENT)
    assert meter.read(0) == ()
    meter.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -5.0, 1e9])
def test_absurd_shares_are_no_power(tmp_path: Path, runtime: tuple[Runtime, str], value: float) -> None:
    """A share is within the whole, or it is left out."""
    runtime[0].gauges["tpu.runtime.tensorcore.dutycycle.percent"] = {0: value}
    chips(tmp_path, V4)
    meter = TpuMeter(roots_of(tmp_path), TpuConfig(address=runtime[1]), clock=lambda: 0)
    meter.probe()
    assert answered(meter, 0)[2] == (1_000_000 if value == 1e9 else 0)
    meter.close()


def test_the_wire_is_read_as_the_stubs_write_it() -> None:
    """A request is what the stubs parse, and a response of theirs gives each device's gauge."""
    assert tpu_info_pb2.MetricRequest.FromString(request("a.b")).metric_name == "a.b"
    made = tpu_info_pb2.MetricResponse()
    for device, value in ((0, 1.5), (7, 0.0), (2**40, 99.0)):
        one = made.metric.metrics.add()
        one.attribute.value.int_attr = device
        one.gauge.as_double = value
    assert parse_gauges(made.SerializeToString()) == {0: 1.5, 7: 0.0, 2**40: 99.0}


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_parser(data: bytes) -> None:
    """Noise is a message without gauges, or is refused."""
    with contextlib.suppress(WireError):
        assert all(isinstance(device, int) for device in parse_gauges(data))


@pytest.mark.parametrize(
    "config",
    [
        TpuConfig(address="nowhere"),
        TpuConfig(address="a:99999"),
        TpuConfig(period_s=0.1),
        TpuConfig(idle_w=9),
        TpuConfig(most_w=9e9),
    ],
)
def test_configurations_that_cannot_be_are_refused(config: TpuConfig) -> None:
    """Each names the key and what was expected."""
    (error,) = config.errors()
    assert error.startswith("agent.tpu.")
    assert "expected" in error
