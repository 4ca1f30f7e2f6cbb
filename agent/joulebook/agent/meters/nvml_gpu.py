"""One NVIDIA GPU through NVIDIA's own bindings (nvidia-ml-py): NVML API Reference Guide, "Device Queries".

All vendor codes become errors here that say what is wrong and what mends it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

# A value that is not there: all bits of its width, or all but the sign.
_SENTINELS = frozenset((2**32 - 1, 2**31 - 1, 2**64 - 1, 2**63 - 1))
_WHOLE_PERCENT = 100
_PPM_A_PERCENT = 10_000
_SAMPLE_KEPT_US = 3_000_000


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


def _there(value: int) -> int:
    if value in _SENTINELS:
        raise UnsupportedError("a value that stands for none")
    return value


def _share_ppm(percent: int) -> int:
    return min(_there(percent), _WHOLE_PERCENT) * _PPM_A_PERCENT


class Library:
    """NVML, begun."""

    def __init__(self, nvml: Any) -> None:
        self.nvml = nvml
        self._begin()

    @translated
    def _begin(self) -> None:
        self.nvml.nvmlInit()

    @translated
    def count(self) -> int:
        """Return how many GPUs there are, those that do not answer included."""
        return int(self.nvml.nvmlDeviceGetCount())

    @translated
    def close(self) -> None:
        """End it."""
        self.nvml.nvmlShutdown()


class NvmlGpu:
    """A GPU by its index. Every question goes to the driver; each may raise NvmlError."""

    @translated
    def __init__(self, nvml: Any, index: int) -> None:
        self.nvml = nvml
        self.domain = f"gpu.{index}"
        self.index = index
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self.uuid = str(nvml.nvmlDeviceGetUUID(self._handle))
        self.model = str(nvml.nvmlDeviceGetName(self._handle))
        self.minor = self._or_default(self._minor, index)
        self.size_bytes = self._or_default(self._size_bytes, 0)
        self.limit_mw = self._or_default(self._limit_mw, 0)
        self._sampled_us = 0
        self._sampled_ppm: dict[int, int] = {}

    @translated
    def energy_uj(self) -> int:
        """Return the energy since the driver was loaded."""
        return _there(int(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))) * 1000

    @translated
    def power_mw(self) -> int:
        """Return the power: averaged over a second on most GPUs."""
        return _there(int(self.nvml.nvmlDeviceGetPowerUsage(self._handle)))

    @translated
    def utilisation_ppm(self) -> tuple[int, int]:
        """Return the shares of the last sample period in which kernels ran and memory was accessed."""
        rates = self.nvml.nvmlDeviceGetUtilizationRates(self._handle)
        return _share_ppm(int(rates.gpu)), _share_ppm(int(rates.memory))

    @translated
    def memory_used_bytes(self) -> int:
        """Return the memory that is allocated."""
        return _there(int(self.nvml.nvmlDeviceGetMemoryInfo(self._handle).used))

    @translated
    def temperature_mc(self) -> int:
        """Return the die's temperature."""
        return _there(int(self.nvml.nvmlDeviceGetTemperature(self._handle, 0))) * 1000

    @translated
    def throttle_reasons(self) -> int:
        """Return nvmlClocksThrottleReasons as a set of bits."""
        return int(self.nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle))

    def pids(self) -> frozenset[int]:
        """Return the processes that have a context on the GPU, computing or drawing."""
        found = self._compute_pids()
        try:
            return found | self._graphics_pids()
        except UnsupportedError:
            return found

    def process_ppm(self, now_us: int) -> dict[int, int]:
        """Return each process's share of the multiprocessors; what is not told is 0.

        The driver samples at its own pace: while it has no new samples the last ones stand for a while.
        """
        try:
            samples = self._samples()
        except UnsupportedError:
            samples = {}
        if samples:
            self._sampled_us, self._sampled_ppm = now_us, samples
        elif now_us - self._sampled_us > _SAMPLE_KEPT_US:
            self._sampled_ppm = {}
        return self._sampled_ppm

    @translated
    def _compute_pids(self) -> frozenset[int]:
        return frozenset(int(p.pid) for p in self.nvml.nvmlDeviceGetComputeRunningProcesses(self._handle))

    @translated
    def _graphics_pids(self) -> frozenset[int]:
        return frozenset(int(p.pid) for p in self.nvml.nvmlDeviceGetGraphicsRunningProcesses(self._handle))

    _last_sample = 0

    @translated
    def _samples(self) -> dict[int, int]:
        shares: defaultdict[int, list[int]] = defaultdict(list)
        last = self._last_sample
        for sample in self.nvml.nvmlDeviceGetProcessUtilization(self._handle, last):
            # Some drivers fill the list up with what they showed before, or with nothing.
            if sample.pid and sample.timeStamp > last and sample.smUtil <= _WHOLE_PERCENT:
                shares[int(sample.pid)].append(int(sample.smUtil))
                self._last_sample = max(self._last_sample, int(sample.timeStamp))
        return {pid: sum(each) * _PPM_A_PERCENT // len(each) for pid, each in shares.items()}

    @translated
    def _minor(self) -> int:
        return _there(int(self.nvml.nvmlDeviceGetMinorNumber(self._handle)))

    @translated
    def _size_bytes(self) -> int:
        return _there(int(self.nvml.nvmlDeviceGetMemoryInfo(self._handle).total))

    @translated
    def _limit_mw(self) -> int:
        return _there(int(self.nvml.nvmlDeviceGetPowerManagementLimitConstraints(self._handle)[1]))

    @staticmethod
    def _or_default(ask: Callable[[], int], default: int) -> int:
        try:
            return ask()
        except NvmlError:
            return default
