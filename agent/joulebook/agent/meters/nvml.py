"""Read NVIDIA's GPUs: energy as domains gpu.N, and how they fare as devices of the same name."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.agent.aside import BlockedError, Pending
from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.crosscheck import CrossCheck
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.nvml_codes import GpuLostError, NvmlError, UnsupportedError
from joulebook.agent.meters.nvml_gauges import Gauges
from joulebook.agent.meters.nvml_gpu import Library, NvmlGpu
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Device, Domain, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import report_pb2
from joulebook.v1.metrics_pb2 import METRIC_DEVICE_GPU_POWER

_FIX_BINDINGS = "pip install 'joulebook[gpu]'"
# The counter moves in steps of about 100 ms; the gauge is a mean of a second, or momentary on old GPUs.
_COUNTER_PERIOD_US = 100_000
_POWER_PERIOD_US = 1_000_000
_COUNTER_RESOLUTION_UJ = 1000
# Within 5 % in steady state. A100 and H100 look at 25 ms of every 100: a load that keeps step with that may
# be off by far more (Yang, Adamek, Armour: Part-time Power Measurements, 2023).
_ACCURACY_PPM = 50_000
# A GPU passes its power limit for moments only; old ones state none.
_LEAST_LIMIT_MW = 1_000_000
# Gauges come in a fixed order, power first where there is any.
_POWER_PLACE = 0
# A tick may not wait longer than this for all GPUs together.
_WAIT_S = 0.25


def load() -> Library:
    """Begin NVML. NvmlError: the bindings, the library or the driver are not there."""
    try:
        import pynvml  # noqa: PLC0415  (only where there is a GPU is it needed)
    except ImportError as error:
        raise NvmlError("the Python bindings of NVML are not installed", _FIX_BINDINGS) from error
    return Library(pynvml)


@dataclass(slots=True)
class _Meter:
    gpu: NvmlGpu
    domain: Domain
    counter: EnergyCounter | PowerIntegral
    health: Health
    gauges: Gauges
    gauges_last: Sequence[int]
    check: CrossCheck | None = None

    def ask(self, now_us: int) -> tuple[int | NvmlError, Sequence[int]]:
        """Ask the driver for the meter's reading, or what stands in its way, and the gauges."""
        try:
            is_counter = isinstance(self.counter, EnergyCounter)
            raw: int | NvmlError = self.gpu.energy_uj() if is_counter else self.gpu.power_mw()
        except GpuLostError as error:
            return error, self.gauges_last
        except NvmlError as error:
            raw = error
        return raw, self.gauges.read(now_us)


def _begin(meter: _Meter, now_us: int) -> Pending[tuple[int | NvmlError, Sequence[int]]] | BlockedError:
    try:
        return meter.gpu.aside.begin(lambda: meter.ask(now_us))
    except BlockedError as error:
        return error


FACTS = SourceFacts(
    name="nvml",
    what=(
        "energy of NVIDIA's GPUs (`gpu.N`); as devices of the same name their power, utilisation, "
        "memory, temperature and throttling"
    ),
    where="NVIDIA's driver through `nvidia-ml-py`",
    unit="mJ counter, else mW",
    period="100 ms; without a counter a mean of 1 s",
    accuracy="±5 % in steady state; A100 and H100 look at 25 of every 100 ms",
    privilege="read and write on `/dev/nvidia*`",
    cost="beside the tick, waited for at most 250 ms",
    documentation="NVML API Reference Guide; Yang, Adamek, Armour, arXiv 2312.02741",
)


class NvmlMeter:
    """Read every NVIDIA GPU. One that is lost, or lacks something, takes nothing from the others."""

    name = "nvml"

    def __init__(self, roots: Roots) -> None:
        self._hardware = (roots.procfs / "driver/nvidia", roots.devfs / "nvidiactl")
        self._library: Library | None = None
        self._meters: list[_Meter] = []

    @property
    def gpus(self) -> tuple[NvmlGpu, ...]:
        """Return the GPUs found, in the order of their domains."""
        return tuple(meter.gpu for meter in self._meters)

    def probe(self) -> Probe:
        """Find every GPU, and what each can tell."""
        known = {meter.gpu.uuid: meter.counter for meter in self._meters}
        self.close()
        try:
            self._library = load()
            count = self._library.count()
        except NvmlError as error:
            return Probe(findings=(self._absent(error),))
        findings = []
        for index in range(count):
            try:
                gpu = NvmlGpu(self._library.nvml, index)
                self._meters.append(self._meter(gpu, known))
            except NvmlError as error:
                findings.append(Finding(f"nvml:gpu.{index}", UNREADABLE, str(error), error.fix))
        if self._meters:
            findings.insert(0, Finding(self.name, WORKING))
        elif not findings:
            findings.append(Finding(self.name, ABSENT, "the NVIDIA driver has no GPU"))
        return Probe(
            series=energy_series(meter.domain.name for meter in self._meters)
            + tuple(
                Series(metric, device=meter.domain.name)
                for meter in self._meters
                for metric in meter.gauges.metrics
            ),
            domains=tuple(meter.domain for meter in self._meters),
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
        """Return energy_uj and unread_us of each GPU, then the gauges of each.

        All GPUs are asked at once; one that does not answer in time misses this reading.
        """
        answers = [_begin(meter, now_us) for meter in self._meters]
        until_s = time.monotonic() + _WAIT_S
        values: list[int] = []
        gauges: list[int] = []
        for meter, answer in zip(self._meters, answers, strict=True):
            counter, health = meter.counter, meter.health
            try:
                if isinstance(answer, BlockedError):
                    raise answer
                raw, meter.gauges_last = answer.result(max(0.0, until_s - time.monotonic()))
                if isinstance(raw, NvmlError):
                    raise raw
                counter.update(raw, now_us)
                if meter.check is not None:
                    meter.check.update(meter.gauges_last[_POWER_PLACE], now_us)
                    health.suspicion, health.off_ppm = meter.check.suspicion, meter.check.off_ppm
            except (NvmlError, BlockedError) as error:
                health.error, health.fix = str(error), error.fix
                counter.miss(now_us)
                if meter.check is not None:
                    meter.check.miss()
            values += (counter.energy_uj, counter.unread_us)
            gauges += meter.gauges_last
        return values + gauges

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call."""
        return tuple(finding for meter in self._meters for finding in meter.health.finding())

    def offsets_uj(self) -> tuple[int, ...]:
        """Return each domain's series value less its hardware counter."""
        return tuple(meter.counter.offset_uj for meter in self._meters)

    def close(self) -> None:
        """Give NVML back."""
        ended = [meter.gpu.aside.close() for meter in self._meters]
        self._meters = []
        # Where the driver hangs, so would this.
        if self._library is not None and all(ended):
            with contextlib.suppress(NvmlError):
                self._library.close()
        self._library = None

    def _absent(self, error: NvmlError) -> Finding:
        if any(path.exists() for path in self._hardware):
            return Finding(self.name, UNREADABLE, f"there is an NVIDIA driver, but {error}", error.fix)
        return Finding(self.name, ABSENT, "no NVIDIA driver")

    def _meter(self, gpu: NvmlGpu, known: dict[str, EnergyCounter | PowerIntegral]) -> _Meter:
        limit_mw = max(2 * gpu.limit_mw, _LEAST_LIMIT_MW)
        try:
            gpu.energy_uj()
            is_counter = True
        except UnsupportedError:
            gpu.power_mw()
            is_counter = False
        period_us = _COUNTER_PERIOD_US if is_counter else _POWER_PERIOD_US
        counter = known.get(gpu.uuid)
        if counter is None or isinstance(counter, EnergyCounter) != is_counter:
            counter = EnergyCounter(limit_mw=limit_mw) if is_counter else PowerIntegral(limit_mw)
        domain = Domain(
            name=gpu.domain,
            source=self.name,
            kind=report_pb2.SOURCE_KIND_COUNTER if is_counter else report_pb2.SOURCE_KIND_INSTANT_POWER,
            # A gauge's step of 1 mW, held for a period.
            resolution_uj=_COUNTER_RESOLUTION_UJ if is_counter else period_us // 1000,
            period_us=period_us,
            accuracy_ppm=_ACCURACY_PPM,
            limit_mw=limit_mw,
        )
        health, gauges = Health(f"nvml:{gpu.domain}", gpu.domain, counter), Gauges(gpu)
        meter = _Meter(gpu, domain, counter, health, gauges, gauges.last.copy())
        if isinstance(counter, EnergyCounter) and gauges.metrics[:1] == (METRIC_DEVICE_GPU_POWER,):
            meter.check = CrossCheck(counter)
        return meter
