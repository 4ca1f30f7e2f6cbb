"""How one AMD GPU fares, as AMD SMI tells it: what it can tell besides energy, and its partitions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from joulebook.agent.meters.amd_held import HeldBack
from joulebook.agent.meters.amdsmi_gpu import AmdsmiGpu
from joulebook.agent.meters.codes import DriverError, StaleError, UnsupportedError
from joulebook.agent.meters.growing import Growing
from joulebook.agent.source import Device, Metric, Series
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2

# Everything is asked for in turns: every so many ticks, each GPU at another tick. Each divides the last.
_OFTEN, _SOMETIMES, _SELDOM = 2, 10, 30

Ask = Callable[[int], Sequence[int]]


@dataclass(slots=True)
class _Turn:
    ask: Ask
    every: int
    place: int


class Gauges:
    """The metrics that a GPU and its partitions have, and their last values.

    What fails for once keeps its last value. series says what last holds.
    """

    def __init__(self, gpu: AmdsmiGpu) -> None:
        """Ask for everything once, to learn what the GPU has."""
        self.series: tuple[Series, ...] = ()
        self.last: list[int] = []
        self._gpu = gpu
        self._turns: list[_Turn] = []
        self._round = gpu.index
        self._add_momentary()
        self._add_slow()
        self.partitions = self._partitions()

    def read(self, now_us: int) -> None:
        """Ask for what is due."""
        self._round = number = (self._round + 1) % _SELDOM
        last = self.last.copy()
        for turn in self._turns:
            if number % turn.every:
                continue
            try:
                values = turn.ask(now_us)
            except StaleError:
                break
            except DriverError:
                continue
            last[turn.place : turn.place + len(values)] = values
        self.last = last

    def _add_momentary(self) -> None:
        gpu = self._gpu
        self._add(metrics.METRIC_DEVICE_GPU_POWER_INSTANT, gpu.momentary_mw, _OFTEN)
        self._add(metrics.METRIC_DEVICE_GPU_UTILISATION, lambda: gpu.activity_ppm("gfx"), 1)
        self._add(metrics.METRIC_DEVICE_GPU_MEMORY_UTILISATION, lambda: gpu.activity_ppm("umc"), _OFTEN)
        # One engine of AMD's both encodes and decodes.
        for metric in (
            metrics.METRIC_DEVICE_GPU_ENCODER_UTILISATION,
            metrics.METRIC_DEVICE_GPU_DECODER_UTILISATION,
        ):
            self._add(metric, lambda: gpu.activity_ppm("mm"), _SOMETIMES)
        self._add(metrics.METRIC_DEVICE_GPU_MEMORY_USED, lambda: gpu.memory_bytes("vram_used"), _OFTEN)

    def _add_slow(self) -> None:
        gpu = self._gpu
        both = (metrics.METRIC_DEVICE_GPU_THROTTLED_POWER, metrics.METRIC_DEVICE_GPU_THROTTLED_THERMAL)
        held = HeldBack()
        # Counted by the firmware: no time is lost between two looks. It takes the library a while.
        self._add_all(both, lambda now_us: held.take(gpu.residency(), now_us), _SOMETIMES)
        self._add(
            metrics.METRIC_DEVICE_GPU_TEMPERATURE, lambda: gpu.temperature_mc("HOTSPOT", "EDGE"), _SOMETIMES
        )
        self._add(
            metrics.METRIC_DEVICE_GPU_MEMORY_TEMPERATURE, lambda: gpu.temperature_mc("VRAM"), _SOMETIMES
        )
        self._add(metrics.METRIC_DEVICE_GPU_SM_CLOCK, lambda: gpu.clock_khz("GFX"), _SOMETIMES)
        self._add(metrics.METRIC_DEVICE_GPU_MEMORY_CLOCK, lambda: gpu.clock_khz("MEM"), _SOMETIMES)
        self._add(metrics.METRIC_DEVICE_GPU_POWER_LIMIT, gpu.limit_enforced_mw, _SOMETIMES)
        self._add(metrics.METRIC_DEVICE_GPU_POWER_LIMIT_DEFAULT, gpu.limit_default_mw, _SELDOM)
        errors = (metrics.METRIC_DEVICE_GPU_ECC_CORRECTED, metrics.METRIC_DEVICE_GPU_ECC_UNCORRECTED)
        self._add_counts(errors, gpu.ecc)
        self._add_counts((metrics.METRIC_DEVICE_GPU_PCIE_REPLAYS,), lambda: (gpu.pcie_replays(),))
        link = (metrics.METRIC_DEVICE_GPU_PCIE_LINK_GENERATION, metrics.METRIC_DEVICE_GPU_PCIE_LINK_WIDTH)
        self._add_all(link, lambda _: gpu.pcie_link(), _SELDOM)
        links = (metrics.METRIC_DEVICE_GPU_NVLINK_RECEIVED, metrics.METRIC_DEVICE_GPU_NVLINK_SENT)
        self._add_counts(links, gpu.links_bytes)

    def _partitions(self) -> tuple[Device, ...]:
        """Return the parts of a divided GPU as devices; they have no energy of their own."""
        gpu, devices = self._gpu, []
        compute, memory = gpu.modes()
        for place, _ in enumerate(gpu.processors if len(gpu.processors) > 1 else ()):
            name = f"{gpu.domain}.xcp.{place}"
            size_bytes = 0
            with contextlib.suppress(DriverError):
                size_bytes = gpu.memory_bytes("vram_total", place)
            devices.append(
                Device(
                    name,
                    report_pb2.DEVICE_KIND_GPU_INSTANCE,
                    size_bytes=size_bytes,
                    uuid=f"{gpu.uuid}.{place}",
                    model=" ".join(mode for mode in (compute, memory) if mode),
                    part_of=gpu.domain,
                )
            )
            self._add(
                metrics.METRIC_DEVICE_GPU_UTILISATION,
                partial(gpu.activity_ppm, "gfx", place),
                _OFTEN,
                name,
            )
            self._add(
                metrics.METRIC_DEVICE_GPU_MEMORY_USED,
                partial(gpu.memory_bytes, "vram_used", place),
                _OFTEN,
                name,
            )
        return tuple(devices)

    def _add_counts(self, names: Sequence[Metric], count: Callable[[], Sequence[int]]) -> None:
        counts = [Growing() for _ in names]
        self._add_all(
            names,
            lambda _: [one.update(raw) for one, raw in zip(counts, count(), strict=True)],
            _SOMETIMES,
        )

    def _add(self, metric: Metric, ask: Callable[[], int], every: int, device: str = "") -> None:
        self._add_all((metric,), lambda _: (ask(),), every, device)

    def _add_all(self, names: Sequence[Metric], ask: Ask, every: int, device: str = "") -> None:
        try:
            values = ask(-1)
        except UnsupportedError:
            return
        except DriverError:
            values = (0,) * len(names)
        self._turns.append(_Turn(ask, every, len(self.last)))
        self.series += tuple(Series(metric, device=device or self._gpu.domain) for metric in names)
        self.last += values
