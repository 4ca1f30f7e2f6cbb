"""Read the energy counters of Intel's and AMD's processors: /sys/class/powercap/intel-rapl*:*.

Documentation/power/powercap/powercap.rst; Documentation/ABI/testing/sysfs-class-powercap.
"""

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.mending import fix_of
from joulebook.agent.meters.counter import DEFAULT_LIMIT_MW, EnergyCounter
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Domain, Finding, Probe, Roots
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.sysfs import text
from joulebook.v1 import report_pb2

FIX_MASKED = "show /sys/devices/virtual/powercap to the agent's container, or run the agent on the host"

# A counter may be reached by MSR or TPMI, which the kernel calls alike, and by MMIO; the first is taken.
_CONTROLS = ("intel-rapl", "intel-rapl-mmio")
# The kernel counts zones in hexadecimal (powercap_register_zone in drivers/powercap/powercap_sys.c).
_ZONE = re.compile(r"(intel-rapl(?:-mmio)?):([0-9a-f]+(?::[0-9a-f]+)*)")
_PACKAGE = re.compile(rb"package-(\d+)(?:-die-(\d+))?")
# Where another package than the first keeps the platform's counter, its number is in the name.
_PSYS = re.compile(rb"psys(-\d+)?")
_PARTS = {b"core": "core", b"uncore": "uncore", b"dram": "memory"}

# One part in 2^14 J is the unit of most processors (Intel SDM vol. 3B, 15.10.1); the file does not tell.
_RESOLUTION_UJ = 61
_PERIOD_US = 1000
# Within 2 to 5 % of an external meter on Haswell and later servers, whose voltage regulators measure
# (Desrochers, Paradis, Weaver: A Validation of DRAM RAPL Power Measurements, MEMSYS 2016; Khan et al.:
# RAPL in Action, TOMPECS 2018).
_ACCURACY_PPM = 30_000
# AMD and Hygon have one counter a package, and one a core. Kernels that know of their dies show the package's
# once a die (before Linux 6.12: rapl_msrs_are_pkg_scope in drivers/powercap/intel_rapl_common.c),
# and any kernel shows as "core" the core that reads.
_ONE_COUNTER = (b"AuthenticAMD", b"HygonGenuine")
_VENDOR_BYTES = 4096

# A package may pass its stated limit for a while, and firmware states odd ones: twice what is stated, within
# bounds that no processor of today passes. A lower ceiling recovers the energy of longer gaps.
_FLOOR_MW = 500_000
_MOST_DIGITS = 15
_CEILING_MW = 2_000_000


@dataclass(slots=True)
class _Zone:
    path: Path
    domain: Domain
    fd: int
    counter: EnergyCounter
    health: Health


def parse_energy(data: bytes) -> int:
    """Parse powercap's energy_uj."""
    return int(data)


def domain_name(name: bytes, parent: bytes, *, one_counter: bool = False) -> str:
    """Name a zone's energy domain from its own name and its parent zone's; empty: unknown.

    Package 1 is cpu.1, and where it has several dies, die 2 of it is cpu.1.2; its parts are numbered alike.
    With one_counter all dies of package 1 are cpu.1, and a core is no part that is known.
    """
    if _PSYS.fullmatch(name):
        return "psys"
    package = _PACKAGE.fullmatch(name) or _PACKAGE.fullmatch(parent)
    if package is None or (one_counter and name == b"core"):
        return ""
    groups = package.groups()[:1] if one_counter else package.groups()
    number = ".".join(group.decode() for group in groups if group is not None)
    part = "cpu" if _PACKAGE.fullmatch(name) else _PARTS.get(name)
    return f"{part}.{number}" if part else ""


def _number(path: Path) -> int:
    digits = text(path)
    # isdigit() alone takes a page of digits; no range or limit has 16.
    return int(digits) if digits.isdigit() and len(digits) <= _MOST_DIGITS else 0


def _limit_mw(zone: Path, domain: str) -> int:
    if domain == "psys":
        return DEFAULT_LIMIT_MW
    stated_uw = [
        _number(path)
        for pattern in ("constraint_*_max_power_uw", "constraint_*_power_limit_uw")
        for path in zone.glob(pattern)
    ]
    stated_mw = max(stated_uw, default=0) // 1000
    return min(max(2 * stated_mw, _FLOOR_MW), _CEILING_MW) if stated_mw else _CEILING_MW


def _left_out(names: Collection[bytes]) -> str:
    """Say which zones of AMD's and Hygon's processors are not booked, and why."""
    said = []
    if any(match and match[2] not in (None, b"0") for match in map(_PACKAGE.fullmatch, names)):
        said.append("zones of other dies are not booked: each shows the counter of the whole package")
    if b"core" in names:
        said.append("zones called core are not booked: each shows one core")
    return "; ".join(said)


FACTS = SourceFacts(
    name="rapl",
    what=(
        "energy of CPU packages (`cpu.N`, several dies `cpu.N.D`), Intel's `core` and `uncore` of them, "
        "DRAM (`memory.N`), and the whole board (`psys`); AMD's package is one counter, as many dies as it "
        "is shown by"
    ),
    where="`/sys/class/powercap/intel-rapl*:*/energy_uj`, by MSR, TPMI or MMIO",
    unit="µJ, wraps at `max_energy_range_uj`",
    period="1 ms",
    accuracy="±3 %",
    privilege="`CAP_DAC_READ_SEARCH` or root (files are 0400 since Linux 5.10)",
    cost="1.3 µs a zone (files of a fixture), plus the MSR read",
    documentation=(
        "Documentation/power/powercap/powercap.rst; Intel SDM vol. 3B, 15.10; Desrochers, Paradis, "
        "Weaver, MEMSYS 2016; Khan et al., TOMPECS 2018"
    ),
)


class RaplMeter:
    """Read every RAPL zone's counter; a zone that cannot be read only misses."""

    name = "rapl"

    def __init__(self, roots: Roots) -> None:
        self._powercap = roots.sysfs / "class/powercap"
        self._cpuinfo = roots.procfs / "cpuinfo"
        self._zones: list[_Zone] = []

    def probe(self) -> Probe:
        """Open each zone's energy_uj."""
        known = {zone.path: zone.counter for zone in self._zones}
        self.close()
        names = self._names()
        if not names:
            return Probe(findings=(Finding(self.name, ABSENT, "no RAPL zone in powercap"),))
        if not any(names.values()):
            fault = Finding(self.name, UNREADABLE, "RAPL zones are listed but hidden", FIX_MASKED)
            return Probe(findings=(fault,))
        wrong: dict[str, Finding] = {}
        taken: set[str] = set()
        one_counter = self._has_one_counter()
        for zone, name in names.items():
            domain = domain_name(name, names.get(zone.rpartition(":")[0], b""), one_counter=one_counter)
            if not domain or domain in taken:
                continue
            try:
                self._open(self._powercap / zone, domain, known)
            except (OSError, ValueError) as error:
                found = Finding(f"rapl:{domain}", UNREADABLE, f"{zone}/energy_uj: {error}", fix_of(error))
                wrong.setdefault(domain, found)
                continue
            taken.add(domain)
            if domain in wrong:
                reason = f"{wrong[domain].reason}; {zone} is read instead"
                wrong[domain] = Finding(f"rapl:{domain}", WORKING, reason)
        findings = list(wrong.values())
        if self._zones:
            findings.insert(0, Finding(self.name, WORKING, _left_out(names.values()) if one_counter else ""))
        return Probe(
            series=energy_series(zone.domain.name for zone in self._zones),
            domains=tuple(zone.domain for zone in self._zones),
            findings=tuple(findings),
        )

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us of each zone."""
        values = []
        for zone in self._zones:
            counter = zone.counter
            try:
                counter.update(parse_energy(os.pread(zone.fd, 32, 0)), now_us)
            except (OSError, ValueError) as error:
                zone.health.error = str(error)
                counter.miss(now_us)
            values.append(counter.energy_uj)
            values.append(counter.unread_us)
        return values

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call."""
        return tuple(finding for zone in self._zones for finding in zone.health.finding())

    def offsets_uj(self) -> tuple[int, ...]:
        """Return each domain's series value less its hardware counter."""
        return tuple(zone.counter.offset_uj for zone in self._zones)

    def close(self) -> None:
        """Give the descriptors back."""
        for zone in self._zones:
            os.close(zone.fd)
        self._zones = []

    def _names(self) -> dict[str, bytes]:
        """Return each zone's name, the preferred control type first, parents before their parts."""
        try:
            matches = [match for path in self._powercap.iterdir() if (match := _ZONE.fullmatch(path.name))]
        except OSError:
            return {}
        matches.sort(key=lambda m: (_CONTROLS.index(m[1]), [int(n, 16) for n in m[2].split(":")]))
        return {match[0]: text(self._powercap / match[0] / "name") for match in matches}

    def _has_one_counter(self) -> bool:
        """Say whether a package has one counter for all of its dies, and none for all of its cores."""
        try:
            with self._cpuinfo.open("rb", buffering=0) as file:
                told = file.read(_VENDOR_BYTES)
        except OSError:
            return False
        return any(vendor in told for vendor in _ONE_COUNTER)

    def _open(self, path: Path, name: str, known: dict[Path, EnergyCounter]) -> None:
        range_uj = _number(path / "max_energy_range_uj")
        limit_mw = _limit_mw(path, name)
        fd = os.open(path / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
        try:
            parse_energy(os.pread(fd, 32, 0))
        except (OSError, ValueError):
            os.close(fd)
            raise
        domain = Domain(
            name=name,
            source=self.name,
            kind=report_pb2.SOURCE_KIND_COUNTER,
            resolution_uj=_RESOLUTION_UJ,
            period_us=_PERIOD_US,
            accuracy_ppm=_ACCURACY_PPM,
            range_uj=range_uj,
            limit_mw=limit_mw,
        )
        counter = known.get(path) or EnergyCounter(range_uj, limit_mw)
        self._zones.append(_Zone(path, domain, fd, counter, Health(f"rapl:{name}", name, counter)))
