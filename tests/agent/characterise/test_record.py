"""A whole characterisation, in a made-up time on sensors of known behaviour."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from joulebook.agent.characterise.record import Recorder
from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.gauges import GaugesConfig
from joulebook.agent.settings import SourceSettings
from joulebook.agent.source import Domain, Probe, Roots
from joulebook.agent.sources import probe_sources
from joulebook.v1 import report_pb2
from tests.fixtures.amd.node import AmdNode
from tests.fixtures.trees import KINDS, build
from tests.simulated.sensors import MS, S, Sensor, UnevenWave


class World:
    """A clock, a load that the recorder turns, and the power that it makes."""

    def __init__(self) -> None:
        self.now_us = 50 * S
        self.rises_us: list[int] = []
        self.falls_us: list[int] = []

    @property
    def is_of_cpus(self) -> bool:
        """Load CPUs."""
        return True

    def clock(self) -> int:
        """Return now."""
        return self.now_us

    def sleep(self, seconds: float) -> None:
        """Let time pass, and a little more."""
        self.now_us += round(seconds * 1e6) + 100

    def turn(self, *, high: bool) -> None:
        """Go up or down."""
        (self.rises_us if high else self.falls_us).append(self.now_us)

    def wave(self) -> UnevenWave:
        """Return the load up to now."""
        return UnevenWave(sorted([*self.rises_us, *self.falls_us]) or [1 << 60], 60_000, 240_000)


class Simulated:
    """A meter of one sensor of the world."""

    def __init__(self, world: World, sensor: Sensor, kind: report_pb2.SourceKind.ValueType) -> None:
        self.name = sensor.name
        self.world, self.sensor = world, sensor
        self.domain = Domain("cpu.0", self.name, kind, 1, 1 * S, 30_000)
        self.is_counter = kind == report_pb2.SOURCE_KIND_COUNTER
        self.counter: EnergyCounter | PowerIntegral = EnergyCounter() if self.is_counter else PowerIntegral()

    def probe(self) -> Probe:
        """Find it."""
        return Probe(domains=(self.domain,))

    def read(self, now_us: int) -> Sequence[int]:
        """Read it."""
        wave, sensor = self.world.wave(), self.sensor
        if self.is_counter:
            taken_us = now_us - now_us % sensor.period_us - sensor.lag_us
            self.counter.update(wave.energy_nj(taken_us) // 1000, now_us)
        else:
            self.counter.update(sensor.shows_mw(wave, now_us) + now_us // sensor.period_us % 7, now_us)
        return self.counter.energy_uj, self.counter.unread_us

    def close(self) -> None:
        """Hold nothing."""


def test_every_sensor_is_found_out() -> None:
    """A counter and a slow average beside a model: what each is comes out, and of the model nothing."""
    world = World()
    counter = Simulated(world, Sensor("fast", 20 * MS, 0), report_pb2.SOURCE_KIND_COUNTER)
    gauge = Simulated(world, Sensor("slow", 250 * MS, 1 * S, 300 * MS), report_pb2.SOURCE_KIND_AVERAGE_POWER)
    model = Simulated(world, Sensor("model", 10 * MS, 0), report_pb2.SOURCE_KIND_MODEL)
    recorder = Recorder([(m, m.probe().domains) for m in (counter, gauge, model)], world.clock, world.sleep)
    assert recorder.has_sensors
    recorder.run(world, 60.0, Random(3))
    fast, slow = recorder.found(world)
    assert (fast["source"], slow["source"]) == ("fast", "slow")
    assert fast["period_us"] == pytest.approx(20 * MS, rel=0.1)
    assert fast["window_us"] is None
    assert fast["lag_us"] <= 10 * MS
    assert slow["period_us"] == pytest.approx(250 * MS, rel=0.1)
    assert slow["window_us"] == pytest.approx(1 * S, rel=0.15)
    assert slow["lag_us"] == pytest.approx(300 * MS, rel=0.25)
    for one in (fast, slow):
        assert one["rise_mw"] == pytest.approx(180_000, rel=0.05)
        assert one["read_us"] > 0
        assert one["note"] == ""


class Idle(Simulated):
    """A meter of a GPU that nothing loads: its power trembles."""

    def read(self, now_us: int) -> Sequence[int]:
        """Read it."""
        self.counter.update(50_000 + now_us // self.sensor.period_us % 7 * 100, now_us)
        return self.counter.energy_uj, self.counter.unread_us


@pytest.mark.parametrize(
    ("of_cpus", "note"), [(True, "with --load CMD"), (False, "does not follow the load")]
)
def test_a_gpu_that_was_not_loaded_is_not_said_to_be_deaf(
    monkeypatch: pytest.MonkeyPatch, of_cpus: bool, note: str
) -> None:
    """Of a GPU's sensor the period is told; what would load it is said where CPUs alone were loaded."""
    world = World()
    monkeypatch.setattr(World, "is_of_cpus", of_cpus)
    gpu = Idle(world, Sensor("nvml", 100 * MS, 0), report_pb2.SOURCE_KIND_AVERAGE_POWER)
    gpu.domain = Domain("gpu.0", "nvml", report_pb2.SOURCE_KIND_AVERAGE_POWER, 1, 100 * MS, 50_000)
    recorder = Recorder([(gpu, gpu.probe().domains)], world.clock, world.sleep)
    recorder.run(world, 20.0, Random(3))
    (row,) = recorder.found(world)
    assert row["period_us"] == pytest.approx(100 * MS, rel=0.1)
    assert note in row["note"]


def test_only_a_model_has_nothing_to_find_out() -> None:
    """Where nothing is measured there are no sensors."""
    world = World()
    model = Simulated(world, Sensor("model", 10 * MS, 0), report_pb2.SOURCE_KIND_MODEL)
    assert not Recorder([(model, model.probe().domains)], world.clock, world.sleep).has_sensors


def test_the_load_lasts_for_the_slowest() -> None:
    """A sensor of 10 s has the load up for 40 s, however short a run was asked for."""
    world = World()
    slow = Simulated(world, Sensor("bmc", 10 * S, 10 * S), report_pb2.SOURCE_KIND_AVERAGE_POWER)
    slow.domain = Domain("node", "bmc", report_pb2.SOURCE_KIND_AVERAGE_POWER, 1, 10 * S, 30_000)
    recorder = Recorder([(slow, slow.probe().domains)], world.clock, world.sleep)
    assert recorder.half_us == 40 * S


def amd_node(directory: Path, kind: str) -> Roots:
    """Make a node with GPUs of AMD that have a counter, or power alone."""
    return AmdNode(directory, revision=(1, 6) if kind == "amd counters" else (1, 0)).roots


@pytest.mark.parametrize("kind", [*KINDS, "amd counters", "amd powers"])
def test_what_never_changed_is_said_so(tmp_path: Path, kind: str) -> None:
    """Files that stay as they are have no period, whatever meter reads them and makes energy of them."""
    world = World()
    roots = build(kind, tmp_path) if kind in KINDS else amd_node(tmp_path, kind)
    with closing(probe_sources(roots, SourceSettings(gauges=GaugesConfig(reads_per_s=0)))) as sources:
        meters = [(source, probe.domains) for source, probe in sources.each if probe.domains]
        # Long enough for counters that stand still beside a power to be left for that.
        recorder = Recorder(meters, world.clock, lambda _: world.sleep(0.25))
        recorder.run(world, 130.0, Random(3))
        found = recorder.found(world)
    for row in found:
        assert row["period_us"] is None
        assert "never changed" in row["note"]
    assert bool(found) == recorder.has_sensors
    assert "amdgpu" in {row["source"] for row in found} or not kind.startswith("amd")
