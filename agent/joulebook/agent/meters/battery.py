"""Read a laptop's own power off its battery while that is what feeds it: /sys/class/power_supply.

Documentation/ABI/testing/sysfs-class-power, Documentation/power/power_supply_class.rst.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.mending import fix_of
from joulebook.agent.meters.counter import PowerIntegral
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Domain, Finding, Probe, Roots
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import report_pb2

FACTS = SourceFacts(
    name="battery",
    what="power of a laptop or of a node on a USB or I²C UPS (`node`), while its batteries feed it",
    where="`/sys/class/power_supply/*/power_now`, or `current_now` times `voltage_now`",
    unit="µW, or µA and µV",
    period="1 to 30 s, as the battery's controller tells",
    accuracy="±10 %; no gauge states any",
    privilege="none",
    cost="p50 0.11 ms, p99 0.5 ms for 2 batteries (files of a fixture); a driver may ask the "
    "embedded controller",
    documentation="Documentation/ABI/testing/sysfs-class-power",
)

_PERIOD_US = 10_000_000
_ACCURACY_PPM = 100_000
# Nothing that lives on a battery draws more.
_LIMIT_MW = 2_000_000


@dataclass(frozen=True, slots=True)
class BatteryFiles:
    """What a battery shows, as bytes; empty: it has no such file."""

    status: bytes
    power: bytes = b""
    current: bytes = b""
    voltage: bytes = b""


def discharging_mw(files: BatteryFiles) -> int | None:
    """Return what a battery gives out; None: it gives nothing out. ValueError: what it shows is no number.

    Some drivers show what flows out as negative.
    """
    if files.status.strip() != b"Discharging":
        return None
    if files.power.strip():
        return abs(int(files.power)) // 1000
    # µA · µV are pW.
    return abs(int(files.current) * int(files.voltage)) // 1_000_000_000


class BatteryMeter:
    """All batteries of the system together. There is a domain only while none charges and one gives out."""

    name = "battery"

    def __init__(self, roots: Roots) -> None:
        self._directory = roots.sysfs / "class/power_supply"
        self._batteries: list[Path] = []
        self._integral = PowerIntegral(_LIMIT_MW, period_us=_PERIOD_US)
        self._health = Health("battery:node", "node", self._integral)
        self._feeds = False
        self._told = False
        self._now_us = -1

    def probe(self) -> Probe:
        """Find the batteries of the system: not those of a mouse."""
        self._batteries = []
        with contextlib.suppress(OSError):
            self._batteries = [p for p in sorted(self._directory.iterdir()) if _is_system_battery(p)]
        if not self._batteries:
            return Probe(findings=(Finding(self.name, ABSENT, "no battery feeds this machine"),))
        try:
            self._feeds = self._told = self._power_mw() is not None
        except (OSError, ValueError) as error:
            return Probe(findings=(Finding(self.name, UNREADABLE, str(error), fix_of(error)),))
        return self._probe()

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us, while batteries feed the machine."""
        if self._batteries and now_us != self._now_us:
            self._now_us = now_us
            try:
                power_mw = self._power_mw()
            except (OSError, ValueError) as error:
                self._health.error = str(error)
                self._integral.miss(now_us)
            else:
                self._feeds = power_mw is not None
                if power_mw is None:
                    self._integral.miss(now_us)
                else:
                    self._integral.update(power_mw, now_us)
        return (self._integral.energy_uj, self._integral.unread_us) if self._told else ()

    def changed(self) -> Probe | None:
        """Return the domain, or none, where a plug was pulled or put in."""
        if self._feeds == self._told:
            return None
        self._told = self._feeds
        return self._probe()

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call."""
        return self._health.finding() if self._told else ()

    def offsets_uj(self) -> tuple[int, ...]:
        """Return 0: there is no hardware counter."""
        return (0,) if self._told else ()

    def variances_nj2(self) -> tuple[int, ...]:
        """Return how far off each domain's energy may be by being read at moments."""
        return (self._integral.variance_nj2,) if self._told else ()

    def close(self) -> None:
        """Give nothing back: a battery's files are opened anew, since they go with it."""

    def _probe(self) -> Probe:
        if not self._told:
            return Probe(findings=(Finding(self.name, WORKING, "not booked: the mains feed this machine"),))
        domain = Domain(
            name="node",
            source=self.name,
            kind=report_pb2.SOURCE_KIND_AVERAGE_POWER,
            resolution_uj=_PERIOD_US // 1000,
            period_us=_PERIOD_US,
            accuracy_ppm=_ACCURACY_PPM,
            limit_mw=_LIMIT_MW,
        )
        return Probe(energy_series(["node"]), (domain,), findings=(Finding(self.name, WORKING),))

    def _power_mw(self) -> int | None:
        """Return what all batteries give out together; None: the mains feed the machine."""
        told = [discharging_mw(_files(path)) for path in self._batteries]
        given_mw = [power_mw for power_mw in told if power_mw]
        return sum(given_mw) if given_mw else None


def _is_system_battery(path: Path) -> bool:
    return _text(path / "type").strip() in (b"Battery", b"UPS") and _text(path / "scope").strip() != b"Device"


def _files(path: Path) -> BatteryFiles:
    return BatteryFiles(
        *(_text(path / name) for name in ("status", "power_now", "current_now", "voltage_now"))
    )


def _text(path: Path) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.read(fd, 64)
    finally:
        os.close(fd)
