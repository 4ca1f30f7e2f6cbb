"""AMD SMI's codes as errors that say what is wrong and what mends it: amdsmi.h, amdsmi_status_t."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from joulebook.agent.meters.codes import Codes, DriverError, StaleError, UnsupportedError

_P = ParamSpec("_P")
_R = TypeVar("_R")

FIX_LOG = "look for amdgpu lines in the kernel's log"
_FIX_AGAIN = "nothing: it is asked again"
_FIX_DRIVER = "modprobe amdgpu; look for amdgpu lines in the kernel's log"
_FIX_RELEASE = "install the bindings and libamd_smi.so of one ROCm release"
_FIX_GROUP = "put the agent's user into the groups render and video, or run it as root"
_CPU = (UnsupportedError, "a question about processors, not GPUs", "")
# By the codes of amdsmi.h, so that the table needs no import.
_FAULTS: dict[int, tuple[type[DriverError], str, str]] = {
    1: (DriverError, "AMD SMI refused an argument", _FIX_RELEASE),
    2: (UnsupportedError, "not supported by this GPU", ""),
    3: (UnsupportedError, "not known to this release of AMD SMI", "install a newer ROCm"),
    4: (DriverError, "a library that AMD SMI needs was not found", "install libdrm and libdrm_amdgpu"),
    5: (UnsupportedError, "a library that AMD SMI needs lacks a function", "install a newer libdrm"),
    6: (DriverError, "libdrm failed", f"{FIX_LOG}; {_FIX_GROUP}"),
    7: (DriverError, "the driver did not serve the call", FIX_LOG),
    8: (DriverError, "the driver did not answer in time", FIX_LOG),
    9: (DriverError, "the driver asks to be asked again", _FIX_AGAIN),
    10: (DriverError, "no permission", _FIX_GROUP),
    11: (DriverError, "the call was interrupted", _FIX_AGAIN),
    12: (DriverError, "the GPU cannot be read: it may be lost", f"{FIX_LOG}, then reset it or reboot"),
    13: (DriverError, "AMD SMI was given a bad address", _FIX_RELEASE),
    14: (DriverError, "a file of the driver cannot be read: the GPU may be lost", FIX_LOG),
    15: (DriverError, "no memory, or the list grew while it was read", "free memory on the node"),
    16: (DriverError, "AMD SMI failed within", _FIX_RELEASE),
    17: (UnsupportedError, "out of what this GPU has", ""),
    18: (StaleError, "AMD SMI could not begin", _FIX_DRIVER),
    19: (StaleError, "AMD SMI was begun too often", "restart the agent"),
    20: (StaleError, "the driver's directory is gone", _FIX_DRIVER),
    30: (DriverError, "the GPU is in use", _FIX_AGAIN),
    31: (StaleError, "the GPU was not found: it is lost, or the driver was loaded again", FIX_LOG),
    32: (StaleError, "AMD SMI is not begun", "nothing: it is begun again"),
    33: (DriverError, "no slot is free", _FIX_AGAIN),
    34: (StaleError, "the amdgpu driver is not loaded", _FIX_DRIVER),
    39: (DriverError, "there is more than fits", _FIX_RELEASE),
    40: (UnsupportedError, "no data", ""),
    41: (DriverError, "too little room for the answer", _FIX_RELEASE),
    42: (DriverError, "an answer of another size", _FIX_RELEASE),
    43: (DriverError, "an answer that AMD SMI does not understand", _FIX_RELEASE),
    **dict.fromkeys((44, 45, 46, 47, 48, 49, 50), _CPU),
    51: (StaleError, "neither driver is there", _FIX_DRIVER),
    52: (UnsupportedError, "the driver has no file for it", ""),
    53: (DriverError, "AMD SMI was given no argument", _FIX_RELEASE),
    54: (DriverError, "the driver could not be loaded again", FIX_LOG),
    55: (UnsupportedError, "not with the GPU's settings", ""),
    56: (DriverError, "the GPU's EEPROM is damaged", "have the GPU serviced"),
    4294967294: (DriverError, "an error that AMD SMI has no code for", FIX_LOG),
    4294967295: (DriverError, "unknown error of the driver", FIX_LOG),
}
error_of = Codes("AMD SMI", _FAULTS, FIX_LOG).error_of


def translated(
    call: Callable[Concatenate[Any, _P], _R],
) -> Callable[Concatenate[Any, _P], _R]:
    """Make a method raise DriverError whatever the bindings raise; its object keeps them as `amdsmi`."""

    @wraps(call)
    def translate(self: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return call(self, *args, **kwargs)
        except DriverError:
            raise
        except self.amdsmi.AmdSmiLibraryException as error:
            raise error_of(int(error.err_code)) from error
        except Exception as error:
            # They decode texts and numbers that the library gave, and fail in many ways where it is another.
            reason = f"AMD's bindings failed: {type(error).__name__}: {error}"
            raise DriverError(reason[:300], _FIX_RELEASE) from error

    return translate


def there(value: Any, *bits: int) -> int:
    """Return a figure, or raise UnsupportedError where it stands for none: all ones, or the bindings' "N/A".

    bits are the widths at which all ones stand for none; the driver fills 16 bits whatever the field's width.
    """
    none = {2**width - 1 for width in bits or (16, 32, 64)}
    if not isinstance(value, int) or value in none or value < 0:
        raise UnsupportedError("a value that stands for none")
    return int(value)
