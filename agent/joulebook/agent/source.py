"""What every source of readings is: a name, probe(), read(), close()."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from joulebook.v1 import metrics_pb2, report_pb2

Metric: TypeAlias = metrics_pb2.Metric.ValueType
State: TypeAlias = report_pb2.SourceState.ValueType

ABSENT = report_pb2.SOURCE_STATE_ABSENT
UNREADABLE = report_pb2.SOURCE_STATE_UNREADABLE
WORKING = report_pb2.SOURCE_STATE_WORKING
SUSPECT = report_pb2.SOURCE_STATE_SUSPECT


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel's file systems are mounted; other roots serve containers and tests.

    pod_logs is where the kubelet keeps pods' logs, in directories named after the pods.
    """

    procfs: Path = Path("/proc")
    sysfs: Path = Path("/sys")
    cgroupfs: Path = Path("/sys/fs/cgroup")
    devfs: Path = Path("/dev")
    pod_logs: Path = Path("/var/log/pods")


@dataclass(frozen=True, slots=True)
class Series:
    """One column of readings. domain, device and workload name its subjects, as the catalogue says."""

    metric: Metric
    domain: str = ""
    device: str = ""
    workload: str = ""


@dataclass(frozen=True, slots=True)
class Domain:
    """An energy domain and its meter, as in the contract.

    idle_power_mw is None where it must be learnt. holds names what lies within the domain though its name
    does not say so: other domains, or a kind for all of it ("cpu": one counter for all packages).
    """

    name: str
    source: str
    kind: report_pb2.SourceKind.ValueType
    resolution_uj: int
    period_us: int
    accuracy_ppm: int
    range_uj: int = 0
    limit_mw: int = 0
    idle_power_mw: int | None = None
    holds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Device:
    """What a node has or uses: DeviceKind in the contract; a GPU or package is called as its domain.

    part_of names the device that it is a part of. What is not known is empty or 0.
    """

    name: str
    kind: report_pb2.DeviceKind.ValueType
    tier: report_pb2.DiskTier.ValueType = report_pb2.DISK_TIER_UNSPECIFIED
    size_bytes: int = 0
    power_limit_mw: int = 0
    uuid: str = ""
    model: str = ""
    part_of: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """How a source, or one part of it, stands: what is wrong and what mends it.

    What concerns one domain of a meter is named METER:DOMAIN. off_ppm says of a suspect one how far it was
    found off; 0: not known, or what was wrong has been dropped.
    """

    name: str
    state: State
    reason: str = ""
    fix: str = ""
    off_ppm: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """What a source found: the series that read() will give, in that order."""

    series: tuple[Series, ...] = ()
    domains: tuple[Domain, ...] = ()
    devices: tuple[Device, ...] = ()
    findings: tuple[Finding, ...] = ()


class Source(Protocol):
    """One thing to read. probe() once, then read() every tick, on descriptors kept open."""

    name: str

    def probe(self) -> Probe:
        """Find and open what is there. Never raises for what is absent or unreadable: it says so."""

    def read(self, now_us: int) -> Sequence[int]:
        """Return one integer a series of probe(), in the catalogue's sub-units.

        now_us is the boot clock. Raises OSError or ValueError when nothing can be read; the sampler
        then keeps the last values and reports the source as failing.
        """

    def close(self) -> None:
        """Give the descriptors back."""


@runtime_checkable
class ChangingSource(Source, Protocol):
    """A source whose parts come and go after probe(): silent at start, plugged in later, unplugged."""

    def changed(self) -> Probe | None:
        """Return what there is now, where it is not what was told last; None: as it was.

        Asked after each tick's read(). After a Probe, read() gives the new series, and is called once more
        for the same moment: the old series end there and the new ones begin. A part that stays keeps its
        counters.
        """


@runtime_checkable
class TellingSource(Source, Protocol):
    """A source that has something to tell after probe(), too."""

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings that changed since the last call: dropped readings, stuck counters."""


@runtime_checkable
class Waiting(Protocol):
    """A source that asks beside the tick and may not have its first answer yet."""

    def is_waiting(self) -> bool:
        """Say whether the first answer is still to come."""


@runtime_checkable
class Showing(Protocol):
    """A source that can say in words what it shows at the moment."""

    def shows(self) -> str:
        """Return that; "": nothing that may be believed."""


@runtime_checkable
class Sampling(Protocol):
    """A meter that has gauges of power."""

    def variances_nj2(self) -> tuple[int, ...]:
        """Return, for each domain, how far off its energy may be by being read at moments; it never falls."""


class Meter(TellingSource, Protocol):
    """A source of energy. For each domain, in order: energy_uj then unread_us, both never falling."""

    def offsets_uj(self) -> tuple[int, ...]:
        """Return, for each domain, the series value less the hardware counter (0 where there is none)."""
