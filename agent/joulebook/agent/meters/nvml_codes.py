"""NVML's codes as errors that say what is wrong and what mends it: NVML API Reference Guide, nvmlReturn_t."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from joulebook.agent.meters.codes import Codes, DriverError, GpuLostError, StaleError, UnsupportedError

_P = ParamSpec("_P")
_R = TypeVar("_R")

FIX_LOG = "look for NVRM and Xid lines in the kernel's log"
_FIX_DRIVER = "modprobe nvidia; look into the kernel's log"
_FIX_UPDATE = "install a newer NVIDIA driver"
_FIX_RESTART = "restart the agent; if it stays, install nvidia-ml-py and driver of one release"
# By the codes of nvml.h (nvmlReturn_t), so that the table needs no import.
_FAULTS: dict[int, tuple[type[DriverError], str, str]] = {
    0: (UnsupportedError, "nothing to tell", ""),  # the bindings raise success where a list is empty
    1: (StaleError, "NVML is not begun, or the driver was loaded again", "nothing: it is begun again"),
    2: (DriverError, "NVML refused an argument", _FIX_RESTART),
    3: (UnsupportedError, "not supported by this GPU", ""),
    4: (DriverError, "no permission", "give the agent access to /dev/nvidia*, or run it as root"),
    5: (DriverError, "NVML was begun already", _FIX_RESTART),
    6: (UnsupportedError, "nothing found", ""),
    7: (DriverError, "the list grew while it was read", "nothing: it is read again"),
    8: (DriverError, "the GPU has not enough power", "connect the GPU's power cables"),
    9: (StaleError, "the NVIDIA driver is not loaded", _FIX_DRIVER),
    10: (DriverError, "the driver did not answer in time", FIX_LOG),
    11: (
        DriverError,
        "the GPU's interrupt does not work",
        f"{FIX_LOG}; check the BIOS's and kernel's IRQ options",
    ),
    12: (DriverError, "libnvidia-ml.so.1 was not found", "install the NVIDIA driver's user libraries"),
    13: (UnsupportedError, "not known to this driver", _FIX_UPDATE),
    14: (DriverError, "the GPU's infoROM is damaged", "have the GPU serviced"),
    15: (GpuLostError, "the GPU is lost: it fell off the bus", f"{FIX_LOG}, then reset it or reboot"),
    16: (GpuLostError, "the GPU needs a reset", "nvidia-smi --gpu-reset, with nothing running on it"),
    17: (DriverError, "the operating system refused", "give the agent's service access to /dev/nvidia*"),
    18: (StaleError, "library and driver are of different versions", "reboot, or reload the NVIDIA driver"),
    19: (DriverError, "the GPU is in use", "nothing: it is asked again"),
    20: (DriverError, "no memory", "free memory on the node"),
    21: (UnsupportedError, "no data", ""),
    22: (UnsupportedError, "not with a virtual GPU that has ECC", ""),
    23: (DriverError, "a resource of the GPU is used up", "nothing: it is asked again"),
    24: (UnsupportedError, "this clock is not supported", ""),
    25: (UnsupportedError, "the driver knows another form of this question", _FIX_UPDATE),
    26: (UnsupportedError, "not served any more by this driver", "install a newer nvidia-ml-py"),
    27: (DriverError, "the GPU is not ready yet", "nothing: it is asked again"),
    28: (GpuLostError, "the GPU was not found", f"{FIX_LOG}, then reset it or reboot"),
    29: (DriverError, "the GPU is in a state that does not allow this", FIX_LOG),
    999: (DriverError, "unknown error of the driver", FIX_LOG),
}
error_of = Codes("NVML", _FAULTS, FIX_LOG).error_of


def translated(
    call: Callable[Concatenate[Any, _P], _R],
) -> Callable[Concatenate[Any, _P], _R]:
    """Make a method raise DriverError for NVML's codes; its object keeps the bindings as `nvml`."""

    @wraps(call)
    def translate(self: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return call(self, *args, **kwargs)
        except self.nvml.NVMLError as error:
            raise error_of(error.value) from error

    return translate
