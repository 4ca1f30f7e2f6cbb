"""TPUs by the runtime's service, on the stubs that Google publishes, and power made of what it tells."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.tpu import TpuMeter
from joulebook.agent.meters.tpu_config import TpuConfig
from joulebook.agent.meters.tpu_wire import WireError, parse_gauges, request
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from tests.fixtures.trees import build, roots_of
from tests.servers.tpu_runtime import GIB, V4, V5E, Runtime, chips, tpu_info_pb2
from tests.servers.tpu_runtime import runtime as serving

S = 1_000_000
LIMIT_S = 120


@pytest.fixture
def runtime() -> Iterator[tuple[Runtime, str]]:
    """Return the service and where it listens."""
    with serving() as served:
        yield served


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
    (finding,) = meter.findings()
    assert (finding.state, "no program uses a chip" in finding.reason) == (WORKING, True)
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


@pytest.mark.parametrize(
    ("kind", "hbm_bytes", "domains"),
    [("tpu-v4", 32 * GIB, 4), ("tpu-v6e", 32 * GIB, 0)],
)
def test_machines_of_google(tmp_path: Path, kind: str, hbm_bytes: int, domains: int) -> None:
    """Chips are found by their PCI identity, be they /dev/accel* or VFIO groups; a network card is none."""
    meter = TpuMeter(build(kind, tmp_path), TpuConfig(address="127.0.0.1:1"), clock=lambda: 0)
    probe = meter.probe()
    assert [(d.name, d.size_bytes) for d in probe.devices] == [(f"gpu.{n}", hbm_bytes) for n in range(4)]
    assert len(probe.domains) == domains
    meter.close()


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
