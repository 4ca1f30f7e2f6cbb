"""How one NVIDIA GPU fares: what it can tell besides energy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from joulebook.agent.meters.nvml_codes import GpuLostError, NvmlError, UnsupportedError
from joulebook.agent.meters.nvml_gpu import NvmlGpu
from joulebook.agent.source import Metric
from joulebook.v1 import metrics_pb2 as metrics

# nvmlClocksThrottleReasons: software power cap, hardware power brake, board limit; software and hardware
# thermal slowdown; hardware slowdown, sync boost, display clock, reliability. An idle GPU and clocks that
# somebody set (0x1, 0x2) are no throttling.
_POWER = 0x4 | 0x80 | 0x200
_THERMAL = 0x20 | 0x40
_OTHER = 0x8 | 0x10 | 0x100 | 0x400


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


class Gauges:
    """The metrics that this GPU has, and their last values. What fails for once keeps its last value."""

    def __init__(self, gpu: NvmlGpu) -> None:
        """Ask for everything once, to learn what the GPU has."""
        throttling = Throttling(gpu.throttle_reasons)
        asked: tuple[tuple[tuple[Metric, ...], Callable[[int], Sequence[int]]], ...] = (
            ((metrics.METRIC_DEVICE_GPU_POWER,), lambda _: (gpu.power_mw(),)),
            (
                (metrics.METRIC_DEVICE_GPU_UTILISATION, metrics.METRIC_DEVICE_GPU_MEMORY_UTILISATION),
                lambda _: gpu.utilisation_ppm(),
            ),
            ((metrics.METRIC_DEVICE_GPU_MEMORY_USED,), lambda _: (gpu.memory_used_bytes(),)),
            ((metrics.METRIC_DEVICE_GPU_TEMPERATURE,), lambda _: (gpu.temperature_mc(),)),
            (
                (
                    metrics.METRIC_DEVICE_GPU_THROTTLED_POWER,
                    metrics.METRIC_DEVICE_GPU_THROTTLED_THERMAL,
                    metrics.METRIC_DEVICE_GPU_THROTTLED_OTHER,
                ),
                throttling.read,
            ),
        )
        self.metrics: tuple[Metric, ...] = ()
        self.last: list[int] = []
        self._asks: list[tuple[int, Callable[[int], Sequence[int]]]] = []
        for names, ask in asked:
            try:
                values = ask(-1)
            except UnsupportedError:
                continue
            except NvmlError:
                values = (0,) * len(names)
            self._asks.append((len(self.last), ask))
            self.metrics += names
            self.last += values

    def read(self, now_us: int) -> Sequence[int]:
        """Return one value a metric."""
        for place, ask in self._asks:
            try:
                values = ask(now_us)
            except GpuLostError:
                break
            except NvmlError:
                continue
            self.last[place : place + len(values)] = values
        return self.last.copy()
