"""What the driver tells of by itself: XID errors.

NVIDIA, "Xid Errors" and its catalog (docs.nvidia.com/deploy/xid-errors); NVML API Reference Guide, "Event
Handling Methods".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from ctypes import byref
from typing import Any

from joulebook.agent.meters.codes import DriverError
from joulebook.agent.meters.nvml_calls import function
from joulebook.agent.meters.nvml_codes import error_of, translated
from joulebook.agent.source import Metric
from joulebook.v1 import metrics_pb2 as metrics

_XID_EVENT = 0x8
_TIMEOUT = 10
# More in one look than a storm brings; the rest waits in the driver for the next look.
_MOST_A_LOOK = 256

_APPLICATION, _MEMORY, _LINK, _DRIVER, _OTHER = range(5)
METRICS: tuple[Metric, ...] = (
    metrics.METRIC_DEVICE_GPU_XID_APPLICATION,
    metrics.METRIC_DEVICE_GPU_XID_MEMORY,
    metrics.METRIC_DEVICE_GPU_XID_LINK,
    metrics.METRIC_DEVICE_GPU_XID_DRIVER,
    metrics.METRIC_DEVICE_GPU_XID_OTHER,
    metrics.METRIC_DEVICE_GPU_XID_LAST,
)
_CLASS_OF = {
    **dict.fromkeys((13, 31, 32, 43, 45, 68, 69), _APPLICATION),
    **dict.fromkeys((48, 63, 64, 92, 94, 95, 140, 156, 157, 158, 160, 171, 172), _MEMORY),
    **dict.fromkeys((38, 74, 79, 110, 137, *range(144, 151)), _LINK),
    **dict.fromkeys((8, 16, 44, 46, 56, 57, 61, 62, 109, 119, 120, 136, 143, 154), _DRIVER),
}
# After these the GPU does not go on by itself.
_GRAVE = {
    48: "an uncorrectable memory error",
    64: "a memory row could not be remapped",
    74: "an NVLink error",
    79: "the GPU fell off the bus",
    95: "an uncontained memory error",
    119: "the GPU's firmware does not answer",
    120: "an error in the GPU's firmware",
}
_FIX_GRAVE = (
    "drain the node; reset the GPU (nvidia-smi --gpu-reset) or reboot; if it comes again, have it serviced"
)


def class_of(xid: int) -> int:
    """Return the place of an XID's class in METRICS."""
    return _CLASS_OF.get(xid, _OTHER)


class Xids:
    """Counts XID events of the GPUs that tell of them. look() never waits."""

    def __init__(self, nvml: Any) -> None:
        self.nvml = nvml
        self._set: Any = None
        self._wait = function(nvml, "nvmlEventSetWait_v2")
        self._event = nvml.c_nvmlEventData_t()
        self._counts: dict[str, list[int]] = {}
        self._grave: dict[str, int] = {}

    def watch(self, gpus: Iterable[tuple[str, Any]]) -> frozenset[str]:
        """Have the driver tell of these GPUs (UUID, handle); return the UUIDs of those that can."""
        self.close()
        self._grave.clear()
        told = set()
        with contextlib.suppress(DriverError):
            self._create()
            for uuid, handle in gpus:
                with contextlib.suppress(DriverError):
                    self._register(handle)
                    told.add(uuid)
        for uuid in told:
            self._counts.setdefault(uuid, [0] * len(METRICS))
        if not told:
            self.close()
        return frozenset(told)

    def look(self) -> None:
        """Take what the driver has to tell since the last look."""
        if self._set is None:
            return
        for _ in range(_MOST_A_LOOK):
            event = self._next()
            if event is None:
                return
            uuid, xid = event
            counts = self._counts.get(uuid)
            if counts is not None:
                counts[class_of(xid)] += 1
                counts[-1] = xid
                if xid in _GRAVE:
                    self._grave[uuid] = xid

    def look_quietly(self) -> None:
        """Do the same; that the driver does not tell is no fault of its GPUs."""
        with contextlib.suppress(DriverError):
            self.look()

    def of(self, uuid: str) -> Sequence[int]:
        """Return one value a metric."""
        return self._counts[uuid].copy()

    @property
    def has_grave(self) -> bool:
        """Say whether any GPU has had an XID that does not pass by itself."""
        return bool(self._grave)

    def grave(self, uuid: str) -> tuple[str, str]:
        """Return the last XID of a GPU that does not pass by itself, in words, and what mends it."""
        xid = self._grave.get(uuid)
        return ("", "") if xid is None else (f"XID {xid}: {_GRAVE[xid]}", _FIX_GRAVE)

    def close(self) -> None:
        """Have the driver tell no more."""
        if self._set is not None:
            with contextlib.suppress(DriverError):
                self._free()
        self._set = None

    @translated
    def _create(self) -> None:
        self._set = self.nvml.nvmlEventSetCreate()

    @translated
    def _free(self) -> None:
        self.nvml.nvmlEventSetFree(self._set)

    @translated
    def _register(self, handle: Any) -> None:
        self.nvml.nvmlDeviceRegisterEvents(handle, _XID_EVENT, self._set)

    def _next(self) -> tuple[str, int] | None:
        event = self._event
        if code := self._wait(self._set, byref(event), 0):
            if code == _TIMEOUT:
                return None
            raise error_of(code)
        return (self._uuid(event.device), int(event.eventData)) if event.eventType == _XID_EVENT else ("", 0)

    @translated
    def _uuid(self, device: Any) -> str:
        return str(self.nvml.nvmlDeviceGetUUID(device))
