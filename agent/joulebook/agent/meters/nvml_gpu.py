"""One NVIDIA GPU through NVIDIA's own bindings (nvidia-ml-py): NVML API Reference Guide, "Device Queries".

All vendor codes become errors here that say what is wrong and what mends it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from ctypes import c_uint, c_ulonglong
from typing import Any

from joulebook.agent.meters.codes import DriverError, UnsupportedError
from joulebook.agent.meters.nvml_calls import Numbers
from joulebook.agent.meters.nvml_codes import translated
from joulebook.agent.meters.nvml_mig import Mig, MigInstance
from joulebook.agent.meters.nvml_processes import Place, Processes

# A value that is not there: all bits of its width, or all but the sign.
_SENTINELS = frozenset((2**32 - 1, 2**31 - 1, 2**64 - 1, 2**63 - 1))
_WHOLE_PERCENT = 100
# Of /dev/nvidia0 and on.
_MAJOR = 195
_PPM_A_PERCENT = 10_000
# Looks for processes between two looks at how the GPU is divided.
_PARTS_EVERY = 10
# nvmlClockType_t.
_SM_CLOCK, _MEMORY_CLOCK = 1, 2
# nvmlPcieUtilCounter_t, in KB a second.
_PCIE_SENT, _PCIE_RECEIVED = 0, 1


def there(value: int) -> int:
    """Return a value, or raise UnsupportedError where it stands for none."""
    if value in _SENTINELS:
        raise UnsupportedError("a value that stands for none")
    return value


def _share_ppm(percent: int) -> int:
    return min(there(percent), _WHOLE_PERCENT) * _PPM_A_PERCENT


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

    def again(self) -> None:
        """End it and begin it again: after the driver was loaded again older handles are good for nothing."""
        with contextlib.suppress(DriverError):
            self.close()
        self._begin()

    @translated
    def close(self) -> None:
        """End it."""
        self.nvml.nvmlShutdown()


class NvmlGpu:
    """A GPU by its index. Every question goes to the driver; each may raise DriverError.

    look asks the driver for processes in a thread that may hang; who owns the thread puts it there.
    """

    @translated
    def __init__(self, nvml: Any, index: int) -> None:
        self.nvml = nvml
        self.domain = f"gpu.{index}"
        self.index = index
        self.handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self.uuid = str(nvml.nvmlDeviceGetUUID(self.handle))
        self.model = str(nvml.nvmlDeviceGetName(self.handle))
        self._energy_mj = Numbers(nvml, "nvmlDeviceGetTotalEnergyConsumption", c_ulonglong)
        self._power_mw = Numbers(nvml, "nvmlDeviceGetPowerUsage", c_uint)
        self._utilisation = Numbers(nvml, "nvmlDeviceGetUtilizationRates", c_uint, 2)
        # Total, free and used.
        self._memory = Numbers(nvml, "nvmlDeviceGetMemoryInfo", c_ulonglong, 3)
        self._throttle_reasons = Numbers(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", c_ulonglong)
        self._degrees = Numbers(nvml, "nvmlDeviceGetTemperature", c_uint)
        minor = self._or_default(self._minor, -1)
        self.minor = index if minor < 0 else minor
        self.size_bytes = self._or_default(self._size_bytes, 0)
        self.limit_mw = self._or_default(self._limit_mw, 0)
        # What it is divided into, and by the two names that a part has; looked at anew now and then.
        self.instances: tuple[MigInstance, ...] = ()
        self.parts: dict[str, int] = {}
        self.rocr_devices = 0
        self.device_numbers = frozenset(((_MAJOR, minor),) if minor >= 0 else ())
        # Of each part that tells it, by GPU instance and compute instance, the share that was active.
        self.active_ppm: dict[Place, int] = {}
        self._looks = 0
        self._processes = Processes(nvml)
        self.find_parts()
        self.look: Callable[[int], dict[int, int]] = self.running

    @translated
    def renew(self) -> None:
        """Take a new handle, after NVML was begun again."""
        self.handle = self.nvml.nvmlDeviceGetHandleByUUID(self.uuid.encode())

    def energy_uj(self) -> int:
        """Return the energy since the driver was loaded."""
        return there(self._energy_mj.one(self.handle)) * 1000

    def power_mw(self) -> int:
        """Return the power: averaged over a second on most GPUs."""
        return there(self._power_mw.one(self.handle))

    @translated
    def limit_enforced_mw(self) -> int:
        """Return the power limit in force, after all limiters."""
        return there(int(self.nvml.nvmlDeviceGetEnforcedPowerLimit(self.handle)))

    @translated
    def limit_default_mw(self) -> int:
        """Return the power limit after a reset."""
        return there(int(self.nvml.nvmlDeviceGetPowerManagementDefaultLimit(self.handle)))

    def utilisation_ppm(self) -> tuple[int, int]:
        """Return the shares of the last sample period in which kernels ran and memory was accessed."""
        of_gpu, of_memory = self._utilisation.all(self.handle)
        return _share_ppm(of_gpu), _share_ppm(of_memory)

    @translated
    def encoder_ppm(self) -> int:
        """Return the share of the last sample period in which the encoder was busy."""
        return _share_ppm(int(self.nvml.nvmlDeviceGetEncoderUtilization(self.handle)[0]))

    @translated
    def decoder_ppm(self) -> int:
        """Return the share of the last sample period in which the decoder was busy."""
        return _share_ppm(int(self.nvml.nvmlDeviceGetDecoderUtilization(self.handle)[0]))

    @translated
    def clocks_khz(self) -> tuple[int, int]:
        """Return the clocks of the multiprocessors and of the memory; the driver tells MHz."""
        ask = self.nvml.nvmlDeviceGetClockInfo
        return (
            there(int(ask(self.handle, _SM_CLOCK))) * 1000,
            there(int(ask(self.handle, _MEMORY_CLOCK))) * 1000,
        )

    def memory_used_bytes(self) -> int:
        """Return the memory that is allocated."""
        return there(self._memory.all(self.handle)[2])

    def temperature_mc(self) -> int:
        """Return the die's temperature."""
        return there(self._degrees.one(self.handle, 0)) * 1000

    def throttle_reasons(self) -> int:
        """Return nvmlClocksThrottleReasons as a set of bits."""
        return self._throttle_reasons.one(self.handle)

    @translated
    def ecc_corrected(self) -> int:
        """Return the memory errors that were corrected since the driver was loaded."""
        return there(int(self.nvml.nvmlDeviceGetTotalEccErrors(self.handle, 0, 0)))

    @translated
    def ecc_uncorrected(self) -> int:
        """Return the memory errors that could not be corrected since the driver was loaded."""
        return there(int(self.nvml.nvmlDeviceGetTotalEccErrors(self.handle, 1, 0)))

    @translated
    def pcie_replays(self) -> int:
        """Return the packets that were sent again."""
        return there(int(self.nvml.nvmlDeviceGetPcieReplayCounter(self.handle)))

    @translated
    def pcie_link(self) -> tuple[int, int]:
        """Return the link's generation and its lanes, as they are now."""
        nvml = self.nvml
        generation = there(int(nvml.nvmlDeviceGetCurrPcieLinkGeneration(self.handle)))
        return generation, there(int(nvml.nvmlDeviceGetCurrPcieLinkWidth(self.handle)))

    @translated
    def pcie_bytes_a_second(self) -> tuple[int, int]:
        """Return what was received and sent in the last 20 ms. It takes the driver 40 ms."""
        ask = self.nvml.nvmlDeviceGetPcieThroughput
        return (
            there(int(ask(self.handle, _PCIE_RECEIVED))) * 1000,
            there(int(ask(self.handle, _PCIE_SENT))) * 1000,
        )

    def processes(self, now_us: int) -> dict[int, int]:
        """Return the processes with a context on the GPU and their shares of its multiprocessors in ppm.

        A share that is not told is 0. BlockedError: the driver takes too long.
        """
        return self.look(now_us)

    def running(self, now_us: int) -> dict[int, int]:
        """Return the same, in this thread."""
        self._looks += 1
        if self._looks % _PARTS_EVERY == 0:
            self.find_parts()
        return self._processes.running(self.handle, self.instances, self.active_ppm, now_us)

    def find_parts(self) -> None:
        """Look how the GPU is divided now."""
        self.instances = Mig(self.nvml, self.handle).instances()
        parts = {}
        for one in self.instances:
            parts[one.uuid] = one.share_ppm
            parts[f"MIG-{self.uuid}/{one.gpu_instance}/{one.compute_instance}"] = one.share_ppm
        self.parts = parts

    @translated
    def _minor(self) -> int:
        return there(int(self.nvml.nvmlDeviceGetMinorNumber(self.handle)))

    def _size_bytes(self) -> int:
        return there(self._memory.all(self.handle)[0])

    @translated
    def _limit_mw(self) -> int:
        return there(int(self.nvml.nvmlDeviceGetPowerManagementLimitConstraints(self.handle)[1]))

    @staticmethod
    def _or_default(ask: Callable[[], int], default: int) -> int:
        try:
            return ask()
        except DriverError:
            return default
