"""NVML's codes as errors that say what is wrong and what mends it: NVML API Reference Guide, nvmlReturn_t."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class NvmlError(OSError):
    """A call that NVML did not serve; fix says what mends it."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.fix = fix


class UnsupportedError(NvmlError):
    """This GPU or driver does not have it: normal."""


class GpuLostError(NvmlError):
    """The GPU does not answer any more."""


_FIX_LOG = "look for NVRM and Xid lines in the kernel's log"
# By the codes of nvml.h (nvmlReturn_t), so that the table needs no import.
_FAULTS: dict[int, tuple[type[NvmlError], str, str]] = {
    0: (UnsupportedError, "nothing to tell", ""),  # the bindings raise success where a list is empty
    1: (NvmlError, "NVML was shut down", "restart the agent"),
    3: (UnsupportedError, "not supported by this GPU", ""),
    4: (NvmlError, "no permission", "give the agent access to /dev/nvidia*, or run it as root"),
    6: (UnsupportedError, "nothing found", ""),
    9: (NvmlError, "the NVIDIA driver is not loaded", "modprobe nvidia; look into the kernel's log"),
    10: (NvmlError, "the driver did not answer in time", _FIX_LOG),
    12: (NvmlError, "libnvidia-ml.so.1 was not found", "install the NVIDIA driver's user libraries"),
    13: (UnsupportedError, "not known to this driver", "install a newer NVIDIA driver"),
    15: (GpuLostError, "the GPU is lost: it fell off the bus", f"{_FIX_LOG}, then reset it or reboot"),
    16: (GpuLostError, "the GPU needs a reset", "nvidia-smi --gpu-reset, with nothing running on it"),
    18: (NvmlError, "library and driver are of different versions", "reboot, or reload the NVIDIA driver"),
    21: (UnsupportedError, "no data", ""),
    999: (NvmlError, "unknown error of the driver", _FIX_LOG),
}


def translated(
    call: Callable[Concatenate[Any, _P], _R],
) -> Callable[Concatenate[Any, _P], _R]:
    """Make a method raise NvmlError for NVML's codes; its object keeps the bindings as `nvml`."""

    @wraps(call)
    def translate(self: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return call(self, *args, **kwargs)
        except self.nvml.NVMLError as error:
            kind, reason, fix = _FAULTS.get(error.value, (NvmlError, f"NVML code {error.value}", _FIX_LOG))
            raise kind(reason, fix) from error

    return translate
