"""Read NVIDIA's GPUs: energy as domains gpu.N, and how they fare as devices of the same name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

from joulebook.agent.host import read_host
from joulebook.agent.meters.nvml_codes import NvmlError, StaleError
from joulebook.agent.meters.nvml_events import Xids
from joulebook.agent.meters.nvml_gauges import Gauges
from joulebook.agent.meters.nvml_gpu import Library, NvmlGpu
from joulebook.agent.meters.nvml_metered import Metered, MeteredGpu, tells_module
from joulebook.agent.meters.row import Rows
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Device, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import report_pb2

_FIX_BINDINGS = "pip install 'joulebook[gpu]'"
# A tick may not wait longer than this for all GPUs together.
_WAIT_S = 0.25
# When no GPU answers the driver may have been loaded again: NVML is begun again, and no sooner than this.
_AGAIN_US = 5_000_000
# A GPU that was lost and then reset shows up only when NVML is begun again. The others miss a reading then.
_LOST_US = 600_000_000

FACTS = SourceFacts(
    name="nvml",
    what=(
        "energy of NVIDIA's GPUs (`gpu.N`); as devices of the same name power, limits, utilisation, "
        "profiling ratios, clocks, throttling, memory, temperatures, PCIe, NVLink, ECC and XID errors "
        "([gpus.md](gpus.md))"
    ),
    where="NVIDIA's driver through `nvidia-ml-py`",
    unit="mJ counter, else mW",
    period="100 ms; without a counter a mean of 1 s",
    accuracy="±5 % in steady state; A100 and H100 look at 25 of every 100 ms",
    privilege="read and write on `/dev/nvidia*`",
    cost="8 stand-in GPUs with 38 series each: the tick waits 0.3 ms; 0.9 ms of CPU a tick, all threads",
    documentation="NVML API Reference Guide; Yang, Adamek, Armour, arXiv 2312.02741",
)


def load() -> Library:
    """Begin NVML. NvmlError: the bindings, the library or the driver are not there."""
    try:
        import pynvml  # noqa: PLC0415  (only where there is a GPU is it needed)
    except ImportError as error:
        raise NvmlError("the Python bindings of NVML are not installed", _FIX_BINDINGS) from error
    return Library(pynvml)


class NvmlMeter:
    """Read every NVIDIA GPU. One that is lost, or lacks something, takes nothing from the others.

    A tick waits for the energy of all GPUs, for wait_s at most (twice, where a GPU begins to hang); how they
    fare is asked for after it and comes with the next tick.
    """

    name = "nvml"

    def __init__(self, roots: Roots, wait_s: float = _WAIT_S) -> None:
        self.wait_s = wait_s
        self._roots = roots
        self._hardware = (roots.procfs / "driver/nvidia", roots.devfs / "nvidiactl")
        self._library: Library | None = None
        self._xids: Xids | None = None
        self._meters: list[MeteredGpu] = []
        self._rows: Rows[MeteredGpu] = Rows(self.name, ())
        self._again_us = self._due_us = 0
        self._looked: dict[MeteredGpu, dict[int, int] | NvmlError] = {}
        self._looked_us = -1

    @property
    def gpus(self) -> tuple[NvmlGpu, ...]:
        """Return the GPUs found, in the order of their domains."""
        return tuple(meter.gpu for meter in self._meters)

    def probe(self) -> Probe:
        """Find every GPU, and what each can tell."""
        known = {
            (meter.gpu.uuid, each.domain.name): each.counter for meter in self._meters for each in meter.all()
        }
        self.close()
        try:
            self._library = load()
            gpus, findings = self._find(self._library)
        except NvmlError as error:
            return Probe(findings=(self._absent(error),))
        xids = self._xids = Xids(self._library.nvml)
        telling = xids.watch((gpu.uuid, gpu.handle) for gpu in gpus)
        has_modules = self._has_modules(gpus, findings)
        for gpu in gpus:
            before = {name: counter for (uuid, name), counter in known.items() if uuid == gpu.uuid}
            gauges = Gauges(gpu, xids, has_xids=gpu.uuid in telling)
            try:
                meter = MeteredGpu(gpu, gauges, before, has_module=has_modules)
            except NvmlError as error:
                gauges.close()
                findings.append(Finding(f"nvml:{gpu.domain}", UNREADABLE, str(error), error.fix))
                continue
            self._meters.append(meter)
            gpu.look = partial(self._look, meter)
        self._rows = Rows(self.name, self._meters, xids.look_quietly)
        if self._meters:
            findings.insert(0, Finding(self.name, WORKING))
        elif not findings:
            findings.append(Finding(self.name, ABSENT, "the NVIDIA driver has no GPU"))
        return Probe(
            series=energy_series(each.domain.name for each in self._metered)
            + tuple(
                Series(metric, device=meter.domain.name)
                for meter in self._meters
                for metric in meter.gauges.metrics
            ),
            domains=tuple(each.domain for each in self._metered),
            devices=tuple(
                Device(
                    meter.domain.name,
                    report_pb2.DEVICE_KIND_GPU,
                    size_bytes=meter.gpu.size_bytes,
                    power_limit_mw=meter.gpu.limit_mw,
                )
                for meter in self._meters
            ),
            findings=tuple(findings),
        )

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us of each GPU and module, then the gauges of each GPU.

        One that does not answer in time misses this reading.
        """
        for each in self._metered:
            each.answer = None
        self._rows.ask(MeteredGpu.ask, self.wait_s)
        values: list[int] = []
        gauges: list[int] = []
        for meter in self._meters:
            for each in meter.all():
                answer = self._rows.blocked(meter) if each.answer is None else each.answer
                each.take(answer, now_us, meter.power_mw)
                values += (each.counter.energy_uj, each.counter.unread_us)
            self._note_xid(meter)
            gauges += meter.gauges.last
        if self._is_stale(now_us):
            self._rows.follow(self._renewal())
        self._rows.follow(lambda meter: meter.gauges.read(now_us))
        return values + gauges

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call."""
        return tuple(finding for each in self._metered for finding in each.health.finding())

    def offsets_uj(self) -> tuple[int, ...]:
        """Return each domain's series value less its hardware counter."""
        return tuple(each.counter.offset_uj for each in self._metered)

    def close(self) -> None:
        """Give NVML back."""
        # Where the driver hangs, so would this.
        if self._rows.close() and self._library is not None:
            for meter in self._meters:
                meter.gauges.close()
            if self._xids is not None:
                self._xids.close()
            with contextlib.suppress(NvmlError):
                self._library.close()
        self._meters = []
        self._rows = Rows(self.name, ())
        self._library = self._xids = None

    @property
    def _metered(self) -> list[Metered]:
        return [each for meter in self._meters for each in meter.all()]

    def _note_xid(self, meter: MeteredGpu) -> None:
        """Tell of a GPU that answers though it has had an error which does not pass."""
        grave, fix = self._xids.grave(meter.gpu.uuid) if self._xids is not None else ("", "")
        if grave and not meter.counter.missing:
            meter.health.suspicion, meter.health.suspicion_fix = grave, fix

    def _has_modules(self, gpus: Sequence[NvmlGpu], findings: list[Finding]) -> bool:
        """Say whether each GPU is alone on a module with a CPU, so that both have one number."""
        telling = [gpu for gpu in gpus if tells_module(gpu)]
        packages = read_host(self._roots).packages
        if not telling or (len(telling) == len(gpus) == packages):
            return bool(telling)
        reason = (
            f"not booked: which of {packages} CPUs each of {len(gpus)} GPUs shares a module with is not known"
        )
        findings.append(Finding("nvml:module", WORKING, reason))
        return False

    def _is_stale(self, now_us: int) -> bool:
        """Say whether NVML should be begun again: no GPU answers, or one has been lost for long."""
        errors = [meter.answer for meter in self._meters if isinstance(meter.answer, NvmlError)]
        if not errors or self._rows.away or not self._due_us:
            self._due_us = now_us + _LOST_US
            return False
        everything = len(errors) == len(self._meters) or any(isinstance(e, StaleError) for e in errors)
        if now_us < (self._again_us if everything else self._due_us):
            return False
        self._again_us, self._due_us = now_us + _AGAIN_US, now_us + _LOST_US
        return True

    def _renewal(self) -> Callable[[MeteredGpu], None]:
        """Return what begins NVML again with the first GPU that it is called for."""
        meters, library, xids = list(self._meters), self._library, self._xids

        def renew(_: MeteredGpu) -> None:
            if not meters or library is None or xids is None:
                return
            every, meters[:] = list(meters), []
            for meter in every:
                meter.gauges.close()
            xids.close()
            with contextlib.suppress(NvmlError):
                library.again()
            found = []
            for meter in every:
                with contextlib.suppress(NvmlError):
                    meter.gpu.renew()
                    meter.gauges.renew()
                    found.append(meter.gpu)
            xids.watch((gpu.uuid, gpu.handle) for gpu in found)

        return renew

    def _look(self, meter: MeteredGpu, now_us: int) -> dict[int, int]:
        """Return a GPU's processes; the others' are asked for with it, and kept until they are asked for."""
        looked = self._looked
        if now_us != self._looked_us or meter not in looked:
            looked.clear()

            def ask(member: MeteredGpu) -> None:
                try:
                    looked[member] = member.gpu.running(now_us)
                except NvmlError as error:
                    looked[member] = error

            self._looked_us = now_us
            self._rows.ask(ask, self.wait_s, hurry=False)
        answer = looked.pop(meter, None)
        if answer is None:
            raise self._rows.blocked(meter)
        if isinstance(answer, NvmlError):
            raise answer
        return answer

    def _absent(self, error: NvmlError) -> Finding:
        if any(path.exists() for path in self._hardware):
            return Finding(self.name, UNREADABLE, f"there is an NVIDIA driver, but {error}", error.fix)
        return Finding(self.name, ABSENT, "no NVIDIA driver")

    def _find(self, library: Library) -> tuple[list[NvmlGpu], list[Finding]]:
        gpus, findings = [], []
        for index in range(library.count()):
            try:
                gpus.append(NvmlGpu(library.nvml, index))
            except NvmlError as error:
                findings.append(Finding(f"nvml:gpu.{index}", UNREADABLE, str(error), error.fix))
        return gpus, findings
