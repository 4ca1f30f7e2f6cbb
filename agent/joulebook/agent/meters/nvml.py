"""Read NVIDIA's GPUs: energy as domains gpu.N, and how they fare as devices of the same name."""

from __future__ import annotations

from collections.abc import Sequence

from joulebook.agent.aside import Aside, Pending
from joulebook.agent.host import read_host
from joulebook.agent.meters.nvml_codes import NvmlError, StaleError
from joulebook.agent.meters.nvml_found import Found
from joulebook.agent.meters.nvml_gpu import NvmlGpu
from joulebook.agent.meters.nvml_metered import Metered, MeteredGpu
from joulebook.agent.meters.row import HANGS_S, Moment
from joulebook.agent.source import ABSENT, UNREADABLE, Finding, Probe, Roots
from joulebook.agent.source_facts import SourceFacts

# A tick may not wait longer than 5 ms for all GPUs together: so long for their energy, and a quarter of that
# for who uses them. A start may wait longer.
_WAIT_S = 0.004
_LOOK_SHARE = 0.25
_START_S = 10.0
# When no GPU answers the driver may have been loaded again: NVML is begun again, and no sooner than this.
_AGAIN_US = 5_000_000
# A GPU that was lost and then reset shows up only when NVML is begun again. The others miss a reading then.
_LOST_US = 600_000_000
# How often it is looked whether GPUs came: the driver was loaded, one was plugged in.
_LOOK_US = 30_000_000

FACTS = SourceFacts(
    name="nvml",
    what=(
        "energy of NVIDIA's GPUs (`gpu.N`); as devices of the same name power, limits, utilisation, "
        "profiling ratios, clocks, throttling, memory, temperatures, PCIe, NVLink, ECC and XID errors "
        "([gpus.md](gpus.md)); memory and profiling ratios of MIG instances (`gpu.N.mig.G.C`)"
    ),
    where="NVIDIA's driver through `nvidia-ml-py`",
    unit="mJ counter, else mW",
    period="100 ms; without a counter a mean of 1 s",
    accuracy="±5 % in steady state; A100 and H100 look at 25 of every 100 ms",
    privilege="read and write on `/dev/nvidia*`",
    cost="8 stand-in GPUs with 38 series each: the tick waits 0.3 ms (5 at most); 0.9 ms of CPU a tick",
    documentation="NVML API Reference Guide; Yang, Adamek, Armour, arXiv 2312.02741",
)


class NvmlMeter:
    """Read every NVIDIA GPU. One that is lost, or lacks something, takes nothing from the others.

    A tick waits for the energy of all GPUs, for wait_s at most: what comes later counts with the next one.
    How they fare is asked for after it and comes with the next tick.
    """

    name = "nvml"

    def __init__(
        self, roots: Roots, wait_s: float = _WAIT_S, start_s: float = _START_S, hangs_s: float = HANGS_S
    ) -> None:
        self.wait_s = wait_s
        self._start_s, self._hangs_s = start_s, hangs_s
        self._roots = roots
        self._hardware = (roots.procfs / "driver/nvidia", roots.devfs / "nvidiactl")
        self._gpus_directory = roots.procfs / "driver/nvidia/gpus"
        self._aside: Aside | None = None
        self._finding: Pending[Found] | None = None
        self._found: Found | None = None
        # What the driver lists, when it was looked for last, and what was said of a look that found nothing.
        self._listed = self._list()
        self._look_us = -1
        self._said: tuple[Finding, ...] = ()
        self._again_us = self._due_us = 0

    @property
    def gpus(self) -> tuple[NvmlGpu, ...]:
        """Return the GPUs found, in the order of their domains."""
        return tuple(meter.gpu for meter in self._meters)

    def probe(self) -> Probe:
        """Find every GPU, and what each can tell; a driver that hangs is waited for, and found later."""
        finding = self._begin_look()
        finding.wait(self._start_s)
        found = self._take_look()
        if found is not None:
            return found
        error = finding.blocked()
        return Probe(findings=(Finding(self.name, UNREADABLE, str(error), error.fix),))

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us of each GPU and module, then the gauges of GPUs and MIG instances.

        One that does not answer in time misses this reading.
        """
        if self._look_us < 0:
            self._look_us = now_us
        elif now_us - self._look_us >= _LOOK_US:
            self._look(now_us)
        found = self._found
        if found is None:
            return ()
        moment = Moment(now_us)
        found.rows.ask(lambda meter: meter.ask(moment), self.wait_s)
        values: list[int] = []
        gauges: list[int] = []
        for meter in found.meters:
            blocked = found.rows.blocked(meter) if found.rows.hangs(meter) else None
            for each in meter.all():
                each.settle(now_us, blocked, meter.power_mw)
                values += (each.counter.energy_uj, each.counter.unread_us)
            self._note_xid(found, meter)
            gauges += meter.gauges.last
        if self._is_stale(found, now_us):
            found.rows.follow(found.renewal())
        found.rows.follow(lambda meter: meter.gauges.read(now_us))
        return values + gauges + found.instances_last()

    def changed(self) -> Probe | None:
        """Return what there is now, where GPUs came, or MIG instances came or went."""
        probe = self._take_look()
        if probe is None and self._found is not None and self._found.is_divided_anew:
            probe = self._found.probe()
            self._said = probe.findings
        return probe if probe is not None and (probe.domains or probe.findings != self._said) else None

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call."""
        return tuple(finding for each in self._metered for finding in each.health.finding())

    def is_waiting(self) -> bool:
        """Say whether a GPU has not answered yet, and may."""
        return any(each.is_waiting for each in self._metered)

    def offsets_uj(self) -> tuple[int, ...]:
        """Return each domain's series value less its hardware counter."""
        return tuple(each.counter.offset_uj for each in self._metered)

    def variances_nj2(self) -> tuple[int, ...]:
        """Return how far off each domain's energy may be by being read at moments."""
        return tuple(each.counter.variance_nj2 for each in self._metered)

    def close(self) -> None:
        """Give NVML back."""
        if self._aside is not None:
            self._aside.close()
        if self._found is not None:
            self._found.close()
        self._aside = self._finding = self._found = None

    @property
    def _meters(self) -> list[MeteredGpu]:
        return self._found.meters if self._found is not None else []

    @property
    def _metered(self) -> list[Metered]:
        return self._found.metered if self._found is not None else []

    def _begin_look(self) -> Pending[Found]:
        if self._finding is not None:
            return self._finding
        packages = read_host(self._roots).packages
        known = self._found.known if self._found is not None else {}
        self._aside = Aside(f"{self.name}.look")
        self._finding = self._aside.begin(lambda: Found(packages, known, self._hangs_s))
        return self._finding

    def _take_look(self) -> Probe | None:
        """Take what a look found, in place of what was there; None: the driver has not answered."""
        if self._finding is None or self._aside is None or not self._finding.done:
            return None
        finding, self._finding = self._finding, None
        self._aside.close()
        try:
            found = finding.result(0)
        except NvmlError as error:
            self._said = (self._absent(error),)
            return Probe(findings=self._said)
        before, self._found = self._found, found
        if before is not None:
            before.close()
        found.looks.wait_s = self.wait_s * _LOOK_SHARE
        probe = found.probe()
        self._said = probe.findings
        return probe

    def _look(self, now_us: int) -> None:
        """Look whether there are GPUs that there were not; what asks the driver is done beside the tick."""
        self._look_us = now_us
        before, self._listed = self._listed, self._list()
        came = self._listed > before if self._found is not None else any(p.exists() for p in self._hardware)
        if came:
            self._begin_look()

    def _list(self) -> int:
        """Return how many GPUs the driver has."""
        try:
            return sum(1 for _ in self._gpus_directory.iterdir())
        except OSError:
            return 0

    def _note_xid(self, found: Found, meter: MeteredGpu) -> None:
        """Tell of a GPU that answers though it has had an error which does not pass."""
        grave, fix = found.xids.grave(meter.gpu.uuid)
        if grave and not meter.counter.missing:
            meter.health.suspicion, meter.health.suspicion_fix = grave, fix

    def _is_stale(self, found: Found, now_us: int) -> bool:
        """Say whether NVML should be begun again: no GPU answers, or one has been lost for long."""
        errors = [meter.error for meter in found.meters if isinstance(meter.error, NvmlError)]
        if not errors or found.rows.hang or not self._due_us:
            self._due_us = now_us + _LOST_US
            return False
        everything = len(errors) == len(found.meters) or any(isinstance(e, StaleError) for e in errors)
        if now_us < (self._again_us if everything else self._due_us):
            return False
        self._again_us, self._due_us = now_us + _AGAIN_US, now_us + _LOST_US
        return True

    def _absent(self, error: NvmlError) -> Finding:
        if any(path.exists() for path in self._hardware):
            return Finding(self.name, UNREADABLE, f"there is an NVIDIA driver, but {error}", error.fix)
        return Finding(self.name, ABSENT, "no NVIDIA driver")
