"""How one NVIDIA GPU fares: what it can tell besides energy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulebook.agent.meters.codes import DriverError, GpuLostError, StaleError, UnsupportedError
from joulebook.agent.meters.growing import Accumulated, Growing
from joulebook.agent.meters.nvml_events import METRICS as XID_METRICS
from joulebook.agent.meters.nvml_events import Xids
from joulebook.agent.meters.nvml_fields import POWER, REST, Field, Fields
from joulebook.agent.meters.nvml_gpm import Gpm
from joulebook.agent.meters.nvml_gpu import NvmlGpu
from joulebook.agent.meters.nvml_instances import Instances
from joulebook.agent.source import Metric
from joulebook.v1 import metrics_pb2 as metrics

# nvmlClocksThrottleReasons: software power cap, hardware power brake, board limit; software and hardware
# thermal slowdown; hardware slowdown, sync boost, display clock, reliability. An idle GPU and clocks that
# somebody set (0x1, 0x2) are no throttling.
_POWER = 0x4 | 0x80 | 0x200
_THERMAL = 0x20 | 0x40
_OTHER = 0x8 | 0x10 | 0x100 | 0x400

# What moves slowly is asked for in turns: every so many ticks, each GPU at another tick.
_OFTEN, _SOMETIMES, _SELDOM = 2, 5, 30  # each divides the last, after which the rounds repeat

Ask = Callable[[int], Sequence[int]]


class Throttling:
    """Time for which a GPU was seen slowed down, by reason. Hardware slowdown alone names no other."""

    def __init__(self, reasons: Callable[[], int]) -> None:
        self._reasons = reasons
        self._read_us = -1
        self._us = [0, 0, 0]

    def read(self, now_us: int) -> Sequence[int]:
        """Return µs throttled by power, by heat and otherwise."""
        reasons = self._reasons()
        elapsed_us = now_us - self._read_us if self._read_us >= 0 else 0
        self._read_us = now_us
        known = reasons & (_POWER | _THERMAL)
        for place, seen in enumerate((reasons & _POWER, reasons & _THERMAL, not known and reasons & _OTHER)):
            if seen:
                self._us[place] += elapsed_us
        return tuple(self._us)


@dataclass(slots=True)
class _Turn:
    ask: Ask
    every: int
    place: int


class Gauges:
    """The metrics that this GPU has, and their last values. What fails for once keeps its last value.

    A metric that several sources tell is taken from the first of them that works.
    """

    def __init__(self, gpu: NvmlGpu, xids: Xids | None = None, *, has_xids: bool = False) -> None:
        """Ask for everything once, to learn what the GPU has."""
        self.metrics: tuple[Metric, ...] = ()
        self.last: list[int] = []
        self._gpu = gpu
        self._turns: list[_Turn] = []
        # What is due in each round.
        self._due: dict[int, list[_Turn]] = {}
        self._round = gpu.index
        self._gpm: Gpm | None = None
        # The parts of a divided GPU; they are read with it.
        self.instances = Instances(gpu)
        self._add_momentary()
        self._add_slow()
        if has_xids and xids is not None:
            self._add(XID_METRICS, lambda _: xids.of(gpu.uuid), 1)

    def read(self, now_us: int) -> None:
        """Ask for what is due; last holds one value a metric."""
        self._round = number = (self._round + 1) % _SELDOM
        due = self._due.get(number)
        if due is None:
            due = self._due[number] = [turn for turn in self._turns if number % turn.every == 0]
        last = self.last.copy()
        for turn in due:
            try:
                values = turn.ask(now_us)
            except (GpuLostError, StaleError):
                break
            except DriverError:
                continue
            last[turn.place : turn.place + len(values)] = values
        self.last = last
        self.instances.read(now_us)

    def close(self) -> None:
        """Give the driver's memory back."""
        self.instances.close()
        if self._gpm is not None:
            with contextlib.suppress(DriverError):
                self._gpm.close()

    def renew(self) -> None:
        """Go on after NVML was begun again."""
        self.instances.renew()
        if self._gpm is not None:
            with contextlib.suppress(DriverError):
                self._gpm.renew(self._gpu.handle)

    def _add_momentary(self) -> None:
        gpu = self._gpu
        self._add_fields(POWER, _OFTEN)
        if metrics.METRIC_DEVICE_GPU_POWER not in self.metrics:
            self._add((metrics.METRIC_DEVICE_GPU_POWER,), lambda _: (gpu.power_mw(),), _OFTEN)
        both = (metrics.METRIC_DEVICE_GPU_UTILISATION, metrics.METRIC_DEVICE_GPU_MEMORY_UTILISATION)
        self._add(both, lambda _: gpu.utilisation_ppm(), 1)
        throttled = (
            metrics.METRIC_DEVICE_GPU_THROTTLED_POWER,
            metrics.METRIC_DEVICE_GPU_THROTTLED_THERMAL,
            metrics.METRIC_DEVICE_GPU_THROTTLED_OTHER,
        )
        self._add(throttled, Throttling(gpu.throttle_reasons).read, 1)
        self._add((metrics.METRIC_DEVICE_GPU_MEMORY_USED,), lambda _: (gpu.memory_used_bytes(),), _OFTEN)

    def _add_slow(self) -> None:
        gpu = self._gpu
        self._add((metrics.METRIC_DEVICE_GPU_TEMPERATURE,), lambda _: (gpu.temperature_mc(),), _SOMETIMES)
        clocks = (metrics.METRIC_DEVICE_GPU_SM_CLOCK, metrics.METRIC_DEVICE_GPU_MEMORY_CLOCK)
        self._add(clocks, lambda _: gpu.clocks_khz(), _SOMETIMES)
        self._add(
            (metrics.METRIC_DEVICE_GPU_ENCODER_UTILISATION,), lambda _: (gpu.encoder_ppm(),), _SOMETIMES
        )
        self._add(
            (metrics.METRIC_DEVICE_GPU_DECODER_UTILISATION,), lambda _: (gpu.decoder_ppm(),), _SOMETIMES
        )
        self._add_fields(REST, _SOMETIMES)
        self._add_gpm()
        self._add_counter(metrics.METRIC_DEVICE_GPU_ECC_CORRECTED, gpu.ecc_corrected)
        self._add_counter(metrics.METRIC_DEVICE_GPU_ECC_UNCORRECTED, gpu.ecc_uncorrected)
        self._add_counter(metrics.METRIC_DEVICE_GPU_PCIE_REPLAYS, gpu.pcie_replays)
        link = (metrics.METRIC_DEVICE_GPU_PCIE_LINK_GENERATION, metrics.METRIC_DEVICE_GPU_PCIE_LINK_WIDTH)
        self._add(link, lambda _: gpu.pcie_link(), _SELDOM)
        self._add_pcie_looks()
        self._add((metrics.METRIC_DEVICE_GPU_POWER_LIMIT,), lambda _: (gpu.limit_enforced_mw(),), _SOMETIMES)
        limit = (metrics.METRIC_DEVICE_GPU_POWER_LIMIT_DEFAULT,)
        self._add(limit, lambda _: (gpu.limit_default_mw(),), _SELDOM)

    def _add_gpm(self) -> None:
        gpu = self._gpu
        try:
            gpm = self._gpm = Gpm(gpu.nvml, gpu.handle, but=self.metrics)
        except DriverError:
            return
        # Averages of the time since the last reading: none is lost.
        self._add(gpm.metrics, lambda now_us: gpm.read(gpu.handle, now_us), _SOMETIMES)

    def _add_pcie_looks(self) -> None:
        both = (metrics.METRIC_DEVICE_GPU_PCIE_RECEIVED, metrics.METRIC_DEVICE_GPU_PCIE_SENT)
        if set(both) & set(self.metrics):
            return
        sums = (Accumulated(), Accumulated())

        def ask(now_us: int) -> Sequence[int]:
            rates = self._gpu.pcie_bytes_a_second()
            return [total.update(rate, now_us) for total, rate in zip(sums, rates, strict=True)]

        self._add(both, ask, _SELDOM)

    def _add_counter(self, metric: Metric, count: Callable[[], int]) -> None:
        if metric not in self.metrics:
            growing = Growing()
            self._add((metric,), lambda _: (growing.update(count()),), _SOMETIMES)

    def _add_fields(self, wanted: Sequence[Field], every: int) -> None:
        gpu = self._gpu
        try:
            fields = Fields(gpu.nvml, gpu.handle, wanted)
        except DriverError:
            return
        self._add(fields.metrics, lambda _: fields.read(gpu.handle), every)

    def _add(self, names: Sequence[Metric], ask: Ask, every: int) -> None:
        try:
            values = ask(-1)
        except UnsupportedError:
            return
        except DriverError:
            values = (0,) * len(names)
        self._turns.append(_Turn(ask, every, len(self.last)))
        self.metrics += tuple(names)
        self.last += values
