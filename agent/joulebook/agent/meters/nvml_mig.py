"""The MIG instances of a GPU: NVML API Reference Guide, "Multi Instance GPU Management"."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from joulebook.agent.meters.codes import DriverError
from joulebook.agent.meters.nvml_codes import translated

_WHOLE_PPM = 1_000_000
# The name of an instance ends in its profile: NVIDIA H100 80GB HBM3 MIG 1g.10gb.
_PROFILE = " MIG "


@dataclass(frozen=True, slots=True)
class MigInstance:
    """A slice of a GPU as programs are given it, and its part of the GPU's compute slices.

    handle is what NVML knows it by; it is good until NVML is begun again.
    """

    uuid: str
    gpu_instance: int
    compute_instance: int
    share_ppm: int
    profile: str
    size_bytes: int
    handle: Any = field(default=None, compare=False, repr=False)


class Mig:
    """Finds the instances of one GPU."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.nvml = nvml
        self._handle = handle

    def instances(self) -> tuple[MigInstance, ...]:
        """Return the instances that there are; none where the GPU is not divided or cannot be."""
        try:
            if not self._is_divided():
                return ()
            most = self._most()
        except DriverError:
            return ()
        found = []
        for index in range(most):
            try:
                found.append(self._instance(index, most))
            except DriverError:
                # There is none of this number, or it is just being taken away.
                continue
        return tuple(found)

    @translated
    def _is_divided(self) -> bool:
        return bool(self.nvml.nvmlDeviceGetMigMode(self._handle)[0])

    @translated
    def _most(self) -> int:
        """Return how many instances of one slice there can be: as many as there are slices."""
        return int(self.nvml.nvmlDeviceGetMaxMigDeviceCount(self._handle))

    @translated
    def _instance(self, index: int, slices: int) -> MigInstance:
        nvml = self.nvml
        handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(self._handle, index)
        has = nvml.nvmlDeviceGetAttributes_v2(handle)
        held = int(has.computeInstanceSliceCount)
        return MigInstance(
            uuid=str(nvml.nvmlDeviceGetUUID(handle)),
            gpu_instance=int(nvml.nvmlDeviceGetGpuInstanceId(handle)),
            compute_instance=int(nvml.nvmlDeviceGetComputeInstanceId(handle)),
            share_ppm=min(held, slices) * _WHOLE_PPM // slices,
            profile=self._profile(handle) or f"{held}c.{int(has.gpuInstanceSliceCount)}g",
            size_bytes=int(has.memorySizeMB) << 20,
            handle=handle,
        )

    def _profile(self, handle: Any) -> str:
        name = ""
        # Old drivers do not name instances.
        with contextlib.suppress(self.nvml.NVMLError):
            name = str(self.nvml.nvmlDeviceGetName(handle))
        return name.rpartition(_PROFILE)[2] if _PROFILE in name else ""
