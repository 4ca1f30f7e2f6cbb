"""Sources that a test turns: a meter's raw counter, a GPU that is plugged in, CPU time that fails to read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from joulebook.agent.meters.counter import EnergyCounter
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import (
    ABSENT,
    WORKING,
    Device,
    Domain,
    Finding,
    Probe,
    Series,
)
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2

RANGE_UJ = 1 << 32


@dataclass
class FakeMeter:
    """A meter whose raw counter the test turns."""

    raw_uj: int = RANGE_UJ - 5_000_000
    name: str = "fake"
    counter: EnergyCounter = field(default_factory=lambda: EnergyCounter(RANGE_UJ, 200_000))
    broken: bool = False

    def probe(self) -> Probe:
        """Find one counter."""
        kind = report_pb2.SOURCE_KIND_COUNTER
        domain = Domain("cpu.0", self.name, kind, 61, 1000, 30_000, RANGE_UJ, 200_000)
        return Probe(series=energy_series(["cpu.0"]), domains=(domain,))

    def read(self, now_us: int) -> Sequence[int]:
        """Read the counter."""
        if self.broken:
            self.counter.miss(now_us)
        else:
            self.counter.update(self.raw_uj, now_us)
        return self.counter.energy_uj, self.counter.unread_us

    def findings(self) -> tuple[Finding, ...]:
        """Have nothing to say."""
        return ()

    def offsets_uj(self) -> tuple[int, ...]:
        """Return the counter's offset."""
        return (self.counter.offset_uj,)

    def close(self) -> None:
        """Hold nothing."""


@dataclass
class PluggedMeter:
    """A meter of a GPU that the test plugs in and pulls out; its counter runs on meanwhile."""

    raw_uj: int = 7_000_000
    name: str = "plugged"
    counter: EnergyCounter = field(default_factory=lambda: EnergyCounter(0, 1_000_000))
    present: bool = False
    told: bool = False

    def probe(self) -> Probe:
        """Find the GPU, where it is there."""
        self.told = self.present
        if not self.present:
            return Probe(findings=(Finding(self.name, ABSENT, "unplugged"),))
        domain = Domain("gpu.0", self.name, report_pb2.SOURCE_KIND_COUNTER, 1, 1000, 30_000, 0, 1_000_000)
        device = Device("gpu.0", report_pb2.DEVICE_KIND_GPU)
        return Probe(energy_series(["gpu.0"]), (domain,), (device,), (Finding(self.name, WORKING),))

    def changed(self) -> Probe | None:
        """Tell what is there, where that is news."""
        return None if self.told == self.present else self.probe()

    def read(self, now_us: int) -> Sequence[int]:
        """Read the counter, where it is there."""
        if not self.told:
            return ()
        self.counter.update(self.raw_uj, now_us)
        return self.counter.energy_uj, self.counter.unread_us

    def findings(self) -> tuple[Finding, ...]:
        """Have nothing to say."""
        return ()

    def offsets_uj(self) -> tuple[int, ...]:
        """Return the counter's offset."""
        return (self.counter.offset_uj,) if self.told else ()

    def close(self) -> None:
        """Hold nothing."""


@dataclass
class FakeUsage:
    """CPU time that the test turns, and that can fail to read."""

    busy_us: int = 0
    name: str = "usage"
    error: str = ""

    def probe(self) -> Probe:
        """Give one series."""
        return Probe(series=(Series(metrics.METRIC_NODE_CPU_BUSY),), findings=(Finding(self.name, WORKING),))

    def read(self, now_us: int) -> Sequence[int]:
        """Read the counter, or fail."""
        del now_us
        if self.error:
            raise OSError(self.error)
        return (self.busy_us,)

    def close(self) -> None:
        """Hold nothing."""
