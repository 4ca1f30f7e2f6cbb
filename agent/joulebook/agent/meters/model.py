"""Model the energy of what has no meter, from its use; for virtual machines and parts without sensors."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import sub

import msgspec

from joulebook.agent.meters.disk_power import DISK_POWER, DiskPower
from joulebook.agent.meters.nic_power import NIC_POWER, NetworkCard, NicPower, find_cards
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import ABSENT, WORKING, Domain, Finding, Probe, Roots
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.cpu import CpuUsage
from joulebook.agent.usage.disk_rest import DiskRest
from joulebook.agent.usage.disks import Disk, DiskUsage, domain_of
from joulebook.agent.usage.memory import MemoryUsage
from joulebook.v1 import report_pb2

# Watts of a logical CPU, the mean of the servers that clouds run, from SPECpower_ssj2008 results: Cloud
# Carbon Footprint, methodology, appendix I ("AWS: min 0.74 W, max 3.5 W"). Other servers: 0.4 to 1.7 idle,
# 2 to 9 busy.
_CPU_IDLE_MW = 740
_CPU_MAX_MW = 3500
_CPU_ACCURACY_PPM = 500_000
# 0.392 W a GB whatever it does: the mean of Crucial's and Micron's figures (Cloud Carbon Footprint,
# methodology, "Memory").
_MEMORY_MW_PER_GIB = 392
_MEMORY_ACCURACY_PPM = 400_000
_DISK_ACCURACY_PPM = 400_000
_NIC_ACCURACY_PPM = 400_000
_PERIOD_US = 10_000
# The kernel numbers packages from 0, or as firmware does.
_MOST_PACKAGE = 65_535


@dataclass(slots=True)
class _DiskModel:
    disk: Disk
    power: DiskPower
    energy_nj: int
    # Bytes read and written, reads, writes.
    done: tuple[int, ...]

    def advance(self, elapsed_us: int, rest: DiskRest | None, now_us: int) -> int:
        done = self.disk.last[:4]
        read_bytes, written_bytes, reads, writes = map(sub, done, self.done)
        self.done = done
        floor_mw, standby_mw = self.power.idle_mw, self.power.standby_mw
        if standby_mw is not None and rest is not None:
            name = self.disk.device.name
            floor_mw = standby_mw if rest.rests(name, moved=done, now_us=now_us) else floor_mw
        # mW · µs are nJ.
        self.energy_nj += floor_mw * elapsed_us
        self.energy_nj += self.power.active_nj(read_bytes, written_bytes, reads, writes, elapsed_us)
        return self.energy_nj // 1000


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.model] of the configuration."""

    # Models network cards whose makers publish what they draw.
    network_cards: bool = True

    def errors(self) -> list[str]:
        """Return nothing: any value will do."""
        return []


def package_cpus(roots: Roots, logical_cpus: int) -> dict[int, int]:
    """Count each package's online CPUs: /sys/devices/system/cpu/cpu*/topology/physical_package_id.

    Documentation/ABI/stable/sysfs-devices-system-cpu. Where it is not told, all are in package 0.
    """
    packages: Counter[int] = Counter()
    for path in (roots.sysfs / "devices/system/cpu").glob("cpu[0-9]*/topology/physical_package_id"):
        try:
            package = int(path.read_bytes())
            if package <= _MOST_PACKAGE:
                packages[max(0, package)] += 1
        except (OSError, ValueError):
            continue
    return dict(sorted(packages.items())) or {0: logical_cpus}


FACTS = SourceFacts(
    name="model",
    what=(
        "what has no meter: CPU packages from CPU time, memory from its size, disks from operations and "
        "bytes, less while a hard disk is in standby where `smart` tells so, network cards (`nic.ADDRESS`) "
        "at what their makers call typical"
    ),
    where="the agent itself, from `cpu`, `memory` and `disks`; `/sys/class/{net,infiniband}/*/device`",
    unit="nJ",
    period="each tick",
    accuracy="CPU ±50 %, memory, disks and network cards ±40 %; marked as modelled everywhere",
    privilege="none",
    cost="1 µs",
    documentation="Cloud Carbon Footprint, methodology; data sheets and manuals named in "
    "`meters/disk_power.py` and `meters/nic_power.py`",
)


class ModelMeter:
    """Model CPU, memory and disks from the last values of their usage sources, which are read before it.

    rest knows hard disks in standby, where somebody asks them; all others count as idle at least. Network
    cards draw the same at all times. What is booked of it where there are meters, the arbiter says.
    """

    name = "model"

    def __init__(
        self,
        roots: Roots,
        cpu: CpuUsage,
        memory: MemoryUsage,
        disks: DiskUsage,
        rest: DiskRest | None = None,
        config: ModelConfig | None = None,
    ) -> None:
        self._roots = roots
        self._cpu = cpu
        self._memory = memory
        self._disks = disks
        self._rest = rest
        self._models_cards = (config or ModelConfig()).network_cards
        self._cards: list[tuple[NetworkCard, NicPower]] = []
        self._cards_us = 0
        self._packages: list[int] = []
        self._cpu_share = 1
        self._cpu_nj = 0
        self._busy_us = 0
        self._memory_mw = 0
        self._memory_nj = 0
        self._disk_models: list[_DiskModel] = []
        self._now_us = -1

    def probe(self) -> Probe:
        """Find what can be modelled, from usage sources that were probed before."""
        domains = []
        cpus = self._cpu.logical_cpus
        packages = package_cpus(self._roots, cpus) if cpus else {}
        self._packages = list(packages.values())
        self._cpu_share = max(1, sum(self._packages))
        self._busy_us = self._cpu.busy_us
        domains += [
            _domain(f"cpu.{package}", _CPU_IDLE_MW * count, _CPU_MAX_MW * count, _CPU_ACCURACY_PPM)
            for package, count in packages.items()
        ]
        self._memory_mw = (self._memory.total_bytes * _MEMORY_MW_PER_GIB) >> 30
        if self._memory_mw:
            whole = _domain("memory.0", self._memory_mw, self._memory_mw, _MEMORY_ACCURACY_PPM)
            domains.append(replace(whole, holds=frozenset({"memory"})))
        known = {model.disk.device: model.energy_nj for model in self._disk_models}
        self._disk_models = []
        for disk in self._disks.disks:
            power = DISK_POWER.get(disk.device.tier)
            if power is None:
                continue
            self._disk_models.append(_DiskModel(disk, power, known.get(disk.device, 0), disk.last[:4]))
            domains.append(_domain(domain_of(disk), power.idle_mw, power.max_mw, _DISK_ACCURACY_PPM))
        cards = find_cards(self._roots) if self._models_cards else []
        self._cards = [(card, NIC_POWER[card.chip]) for card in cards if card.chip in NIC_POWER]
        domains += [
            _domain(f"nic.{card.address}", power.typical_mw, power.max_mw, _NIC_ACCURACY_PPM)
            for card, power in self._cards
        ]
        findings = tuple(_unknown(card) for card in cards if card.chip not in NIC_POWER)
        if not domains:
            return Probe(findings=(Finding(self.name, ABSENT, "nothing to model"), *findings))
        return Probe(
            series=energy_series(domain.name for domain in domains),
            domains=tuple(domains),
            findings=(Finding(self.name, WORKING), *findings),
        )

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj, from 0 at the first read, and 0 unread_us of each domain."""
        elapsed_us = now_us - self._now_us if self._now_us >= 0 else 0
        self._now_us = now_us
        values: list[int] = []
        if self._packages:
            busy_us = self._cpu.busy_us
            # mW · µs are nJ. A package's part is taken of the sum since the start: no remainder is lost.
            if elapsed_us:
                self._cpu_nj += _CPU_IDLE_MW * self._cpu_share * elapsed_us
                # No CPU is busy for longer than it takes: what reads so is a spoilt or late reading.
                worked_us = min(max(busy_us - self._busy_us, 0), elapsed_us * self._cpu_share)
                self._cpu_nj += (_CPU_MAX_MW - _CPU_IDLE_MW) * worked_us
            self._busy_us = busy_us
            for count in self._packages:
                values += (self._cpu_nj * count // (self._cpu_share * 1000), 0)
        if self._memory_mw:
            self._memory_nj += self._memory_mw * elapsed_us
            values += (self._memory_nj // 1000, 0)
        for model in self._disk_models:
            values += (model.advance(elapsed_us, self._rest, now_us), 0)
        self._cards_us += elapsed_us
        for _, power in self._cards:
            values += (power.typical_mw * self._cards_us // 1000, 0)
        return values

    def findings(self) -> tuple[Finding, ...]:
        """Return nothing: a model has no readings to drop."""
        return ()

    def offsets_uj(self) -> tuple[int, ...]:
        """Return 0 for each domain: there is no hardware counter."""
        count = len(self._packages) + (self._memory_mw > 0) + len(self._disk_models) + len(self._cards)
        return (0,) * count

    def close(self) -> None:
        """Give nothing back: the usage sources hold the descriptors."""


def _unknown(card: NetworkCard) -> Finding:
    reason = f"not modelled: of {card.chip} ({', '.join(card.ports)}) no published power is known"
    return Finding(f"model:nic.{card.address}", WORKING, reason)


def _domain(name: str, idle_mw: int, max_mw: int, accuracy_ppm: int) -> Domain:
    return Domain(
        name=name,
        source="model",
        kind=report_pb2.SOURCE_KIND_MODEL,
        resolution_uj=1,
        period_us=_PERIOD_US,
        accuracy_ppm=accuracy_ppm,
        limit_mw=max_mw,
        idle_power_mw=idle_mw,
    )
