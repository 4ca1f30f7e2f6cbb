"""The MIG instances of a GPU: NVML API Reference Guide, "Multi Instance GPU Management"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from joulebook.agent.meters.nvml_codes import NvmlError, translated

_WHOLE_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class MigInstance:
    """A slice of a GPU as programs are given it, and its part of the GPU's compute slices."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    share_ppm: int


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
        except NvmlError:
            return ()
        found = []
        for index in range(most):
            try:
                found.append(self._instance(index, most))
            except NvmlError:
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
        held = int(nvml.nvmlDeviceGetAttributes_v2(handle).computeInstanceSliceCount)
        return MigInstance(
            uuid=str(nvml.nvmlDeviceGetUUID(handle)),
            gpu_instance=int(nvml.nvmlDeviceGetGpuInstanceId(handle)),
            compute_instance=int(nvml.nvmlDeviceGetComputeInstanceId(handle)),
            share_ppm=min(held, slices) * _WHOLE_PPM // slices,
        )
