"""One NVIDIA GPU through NVIDIA's own bindings (nvidia-ml-py): NVML API Reference Guide, "Device Queries".

All vendor codes become errors here that say what is wrong and what mends it.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from joulebook.agent.aside import Aside
from joulebook.agent.meters.nvml_codes import NvmlError, UnsupportedError, translated

# A value that is not there: all bits of its width, or all but the sign.
_SENTINELS = frozenset((2**32 - 1, 2**31 - 1, 2**64 - 1, 2**63 - 1))
_WHOLE_PERCENT = 100
_PPM_A_PERCENT = 10_000
_SAMPLE_KEPT_US = 3_000_000
# A question takes microseconds to some milliseconds; a driver that hangs, for ever.
_WAIT_S = 0.25


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
    """A GPU by its index. Every question goes to the driver; each may raise NvmlError.

    aside runs what may not hold up the caller.
    """

    _last_sample = 0

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
        self.aside = Aside(self.domain)
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

    def processes(self, now_us: int) -> dict[int, int]:
        """Return the processes with a context on the GPU and their shares of its multiprocessors in ppm.

        A share that is not told is 0. BlockedError: the driver takes too long.
        """
        return self.aside.begin(lambda: self._processes(now_us)).result(_WAIT_S)

    def _processes(self, now_us: int) -> dict[int, int]:
        pids = self._compute_pids()
        with contextlib.suppress(UnsupportedError):
            pids |= self._graphics_pids()
        sampled_ppm = self._process_ppm(now_us)
        return {pid: sampled_ppm.get(pid, 0) for pid in pids}

    def _process_ppm(self, now_us: int) -> dict[int, int]:
        """Return the last samples: the driver samples at its own pace, so they stand for a while."""
        samples: dict[int, int] = {}
        with contextlib.suppress(UnsupportedError):
            samples = self._samples()
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
