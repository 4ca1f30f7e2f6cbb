"""How the MIG instances of one NVIDIA GPU fare: each is a device of its own, without energy."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

from joulebook.agent.meters.codes import DriverError, UnsupportedError
from joulebook.agent.meters.nvml_codes import translated
from joulebook.agent.meters.nvml_gpm import Gpm
from joulebook.agent.meters.nvml_gpu import NvmlGpu, there
from joulebook.agent.meters.nvml_mig import MigInstance
from joulebook.agent.source import Device, Metric
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2

# Ticks between two askings: memory and averages since the last one.
_EVERY = 5


class Instance:
    """One instance: its memory, and where GPM tells of it what its multiprocessors do."""

    def __init__(self, gpu: NvmlGpu, found: MigInstance, *, is_alone: bool) -> None:
        """Learn what it has. is_alone: its GPU instance, of which GPM tells, has no other within."""
        self.nvml = gpu.nvml
        self.found = found
        self.is_alone = is_alone
        self._gpu = gpu
        self.device = Device(
            name=f"{gpu.domain}.mig.{found.gpu_instance}.{found.compute_instance}",
            kind=report_pb2.DEVICE_KIND_GPU_INSTANCE,
            size_bytes=found.size_bytes,
            uuid=found.uuid,
            model=found.profile,
            part_of=gpu.domain,
        )
        self.metrics: tuple[Metric, ...] = ()
        self.last: list[int] = []
        self._gpm: Gpm | None = None
        self._has_memory = True
        try:
            self._add((metrics.METRIC_DEVICE_GPU_MEMORY_USED,), (self._memory_used_bytes(),))
        except UnsupportedError:
            self._has_memory = False
        except DriverError:
            self._add((metrics.METRIC_DEVICE_GPU_MEMORY_USED,), (0,))
        if is_alone:
            with contextlib.suppress(DriverError):
                gpm = Gpm(gpu.nvml, gpu.handle, instance=found.gpu_instance)
                self._gpm = gpm
                self._add(gpm.metrics, (0,) * len(gpm.metrics))

    @property
    def place(self) -> tuple[int, int]:
        """Return its GPU instance and its compute instance."""
        return self.found.gpu_instance, self.found.compute_instance

    @property
    def active_ppm(self) -> int | None:
        """Return the share of its multiprocessors that was active; None where it is not told."""
        if metrics.METRIC_DEVICE_GPU_SM_ACTIVE not in self.metrics:
            return None
        return self.last[self.metrics.index(metrics.METRIC_DEVICE_GPU_SM_ACTIVE)]

    def read(self, now_us: int) -> None:
        """Ask for everything; what fails for once keeps its last value."""
        last = self.last.copy()
        if self._has_memory:
            with contextlib.suppress(DriverError):
                last[0] = self._memory_used_bytes()
        if self._gpm is not None:
            with contextlib.suppress(DriverError):
                last[int(self._has_memory) :] = self._gpm.read(self._gpu.handle, now_us)
        self.last = last

    def close(self) -> None:
        """Give the driver's memory back."""
        if self._gpm is not None:
            with contextlib.suppress(DriverError):
                self._gpm.close()

    @translated
    def _memory_used_bytes(self) -> int:
        return there(int(self.nvml.nvmlDeviceGetMemoryInfo(self.found.handle).used))

    def _add(self, names: Sequence[Metric], values: Sequence[int]) -> None:
        self.metrics += tuple(names)
        self.last += values


class Instances:
    """The instances of one GPU. read() in the thread that may hang; the rest where readings are taken."""

    def __init__(self, gpu: NvmlGpu) -> None:
        self._gpu = gpu
        self._round = gpu.index
        # What is there, and what was told of: the difference is told at the next take().
        self._there = self._made({})
        self.each = self._there

    def read(self, now_us: int) -> None:
        """Ask all of them in turn, those that are there by now."""
        if self._gpu.instances != tuple(one.found for one in self._there):
            before = {one.found: one for one in self._there}
            self._there = self._made(before)
            for gone in before.keys() - {one.found for one in self._there}:
                before[gone].close()
        self._round += 1
        if self._round % _EVERY:
            return
        for one in self._there:
            one.read(now_us)
        told = {one.place: one.active_ppm for one in self._there}
        self._gpu.active_ppm = {place: ppm for place, ppm in told.items() if ppm is not None}

    def take(self) -> bool:
        """Tell from now on of those that are there; say whether they are others than before."""
        before, self.each = self.each, self._there
        return before is not self.each

    def close(self) -> None:
        """Give the driver's memory back."""
        for one in self._there:
            one.close()

    def renew(self) -> None:
        """Go on after NVML was begun again: all handles are new."""
        self._gpu.find_parts()
        self._there = self._made({})

    def _made(self, known: dict[MigInstance, Instance]) -> tuple[Instance, ...]:
        compute_instances = Counter(found.gpu_instance for found in self._gpu.instances)
        made = []
        for found in self._gpu.instances:
            is_alone = compute_instances[found.gpu_instance] == 1
            before = known.get(found)
            if before is not None and before.is_alone != is_alone:
                before.close()
                before = None
            made.append(before or Instance(self._gpu, found, is_alone=is_alone))
        return tuple(made)
