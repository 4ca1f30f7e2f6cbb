"""Every source of the agent, in the order in which they are read."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from joulebook.agent.meters.amdgpu import AmdGpuMeter
from joulebook.agent.meters.amdsmi import AmdsmiMeter
from joulebook.agent.meters.arbiter import Arbiter
from joulebook.agent.meters.battery import BatteryMeter
from joulebook.agent.meters.hwmon import HwmonMeter
from joulebook.agent.meters.model import ModelMeter
from joulebook.agent.meters.node_ways import node_ways
from joulebook.agent.meters.nvml import NvmlMeter
from joulebook.agent.meters.pm_counters import PmCounters
from joulebook.agent.meters.rapl import RaplMeter
from joulebook.agent.meters.tpu import TpuMeter
from joulebook.agent.patience import Patience
from joulebook.agent.settings import SourceSettings
from joulebook.agent.source import Domain, Meter, Probe, Roots, Source
from joulebook.agent.usage.asks import AskUsage
from joulebook.agent.usage.beside import Asker, Beside
from joulebook.agent.usage.ceph import CephDaemons
from joulebook.agent.usage.cephfs import CephfsMounts
from joulebook.agent.usage.cpu import CpuUsage
from joulebook.agent.usage.disk_rest import DiskRest
from joulebook.agent.usage.disks import DiskUsage
from joulebook.agent.usage.frequency import FrequencyUsage
from joulebook.agent.usage.hdfs import HdfsDaemons
from joulebook.agent.usage.hugepages import HugepagesUsage
from joulebook.agent.usage.infiniband import InfinibandPorts
from joulebook.agent.usage.lustre import Lustre
from joulebook.agent.usage.memory import MemoryUsage
from joulebook.agent.usage.network import NetworkUsage
from joulebook.agent.usage.nfs import NfsMounts
from joulebook.agent.usage.numa import NumaUsage
from joulebook.agent.usage.nvme import NvmeDisks
from joulebook.agent.usage.packages import PackageUsage
from joulebook.agent.usage.pressure import PressureUsage
from joulebook.agent.usage.smart import SmartDisks
from joulebook.agent.usage.throttling import ThrottlingUsage
from joulebook.agent.workloads.gpus import Gpu


@dataclass(slots=True)
class Sources:
    """Sources with what they found, in reading order: what is used, then the meters as one.

    each has every source by itself, meters too; probe_us tells how long each took to look.
    """

    probed: list[tuple[Source, Probe]] = field(default_factory=list)
    each: list[tuple[Source, Probe]] = field(default_factory=list)
    meters: list[Meter] = field(default_factory=list)
    arbiter: Arbiter | None = None
    # What can tell who uses it: GPUs may come later.
    gpus: Callable[[], Sequence[Gpu]] = tuple
    # The domain of each disk by its number, "8:0".
    disks: dict[bytes, str] = field(default_factory=dict)
    probe_us: dict[str, int] = field(default_factory=dict)

    def add(self, source: Source) -> None:
        """Look what a source finds, and have it read after those before it."""
        self.probed.append((source, self._look(source)))

    def add_meters(self, meters: Sequence[Meter]) -> None:
        """Look what each meter finds, the better ones first; of each domain one is booked."""
        self.arbiter = Arbiter([(meter, self._look(meter)) for meter in meters])
        self.probed.append((self.arbiter, self.arbiter.probe()))
        self.meters = [self.arbiter]

    def offered(self) -> list[Domain]:
        """Return what the meters could give now, each domain as often as meters offer it."""
        return self.arbiter.offered() if self.arbiter is not None else []

    def close(self) -> None:
        """Give every descriptor back."""
        for source, _ in self.probed:
            source.close()

    def _look(self, source: Source) -> Probe:
        began_ns = time.monotonic_ns()
        probe = source.probe()
        self.probe_us[source.name] = (time.monotonic_ns() - began_ns) // 1000
        self.each.append((source, probe))
        return probe


def askers(
    roots: Roots, settings: SourceSettings, disks: DiskUsage, rest: DiskRest
) -> tuple[tuple[Asker, float, float], ...]:
    """Return what is asked beside the tick, how often, and how long until it counts as hung, in seconds."""
    smart = SmartDisks(roots, settings.smart, lambda: disks.disks, rest)
    return (
        (InfinibandPorts(roots), 1, 5),
        (NfsMounts(roots), 5, 5),
        (Lustre(roots), 5, 5),
        (CephfsMounts(roots), 5, 5),
        (CephDaemons(settings.ceph), 10, 10 + settings.ceph.timeout_s),
        (NvmeDisks(roots, settings.nvme), 10, 10),
        (smart, settings.smart.period_s, 90),
        (HdfsDaemons(settings.hdfs), 10, 10 + settings.hdfs.timeout_s),
    )


def probe_sources(
    roots: Roots, settings: SourceSettings | None = None, *, patience_s: float = 0.0
) -> Sources:
    """Build every source and look what is there; settings: each source's own section of the configuration.

    What takes long to answer is waited for, all together, no longer than patience_s; it joins later else.
    """
    settings = settings or SourceSettings()
    sources = Sources()
    cpu, memory, disks = CpuUsage(roots), MemoryUsage(roots), DiskUsage(roots)
    usages: tuple[Source, ...] = (
        cpu,
        # Shares out what `cpu` read just before.
        PackageUsage(roots, cpu),
        FrequencyUsage(roots),
        ThrottlingUsage(roots),
        memory,
        NumaUsage(roots),
        HugepagesUsage(roots),
        disks,
        NetworkUsage(roots),
        PressureUsage(roots),
    )
    for usage in usages:
        sources.add(usage)
    sources.disks = disks.domains()
    patience = Patience(patience_s)
    # Two answers may be missed.
    rest = DiskRest(int(3 * settings.smart.period_s * 1e6))
    for asker, period_s, timeout_s in askers(roots, settings, disks, rest):
        sources.add(
            Beside(
                asker,
                period_us=int(period_s * 1e6),
                timeout_us=int(timeout_s * 1e6),
                patience_s=patience.left_s,
            )
        )
    nvml, amdsmi, amdgpu = NvmlMeter(roots), AmdsmiMeter(roots), AmdGpuMeter(roots)
    hwmon = HwmonMeter(roots, reads_per_s=settings.gauges.reads_per_s, config=settings.hwmon)
    ways = node_ways(roots, settings.ipmi, settings.redfish, settings.pdu, patience_s)
    # The better ones first. Each offers all that it can measure, and the arbiter chooses; the model fills in
    # the rest, from what the usage sources read just before it.
    sources.add_meters(
        (
            RaplMeter(roots),
            nvml,
            amdsmi,
            amdgpu,
            TpuMeter(roots, settings.tpu),
            PmCounters(roots),
            *ways.bmc,
            hwmon,
            ways.pdu,
            BatteryMeter(roots),
            ModelMeter(roots, cpu, memory, disks, rest, settings.model),
        )
    )
    # Last, so that it finds all that is asked.
    sources.add(AskUsage([source for source, _ in sources.each]))
    # All count from 0, and of several at once only the best one's are booked.
    sources.gpus = lambda: nvml.gpus or amdsmi.gpus or amdgpu.gpus or hwmon.gpus
    return sources
