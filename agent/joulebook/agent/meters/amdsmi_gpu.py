"""One AMD GPU through AMD's own bindings: AMD SMI Python API reference.

All vendor codes and values that stand for none become errors here that say what is wrong and what mends it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from joulebook.agent.meters.amd_processes import WHOLE_PPM
from joulebook.agent.meters.amd_table import Residency
from joulebook.agent.meters.amdsmi_codes import there, translated
from joulebook.agent.meters.amdsmi_library import Processor
from joulebook.agent.meters.amdsmi_processes import Processes
from joulebook.agent.meters.codes import DriverError, UnsupportedError

_PPM_A_PERCENT = 10_000
_WHOLE_PERCENT = 100
_MIB = 1 << 20
# Beyond these no GPU lives; what is told then stands for none.
_LEAST_DEGREES, _MOST_DEGREES = -100, 250
_MOST_MHZ = 100_000
# MT/s of a lane, by generation of PCIe.
_GENERATION_OF_SPEED = {2500: 1, 5000: 2, 8000: 3, 16_000: 4, 32_000: 5, 64_000: 6}
_UNLISTED = "N/A"


class AmdsmiGpu:
    """A GPU by its processors: itself, or its partitions. Each question may raise DriverError.

    Figures of the whole GPU are told for its first partition. look asks for processes in a thread that may
    hang; who owns the thread puts it there.
    """

    def __init__(self, amdsmi: Any, processors: Sequence[Processor], domain: str) -> None:
        """Learn what it is called. DriverError: it does not even tell that."""
        self.amdsmi = amdsmi
        self.domain = domain
        self.index = self.minor = int(domain.partition(".")[2])
        self.processors = tuple(processors)
        self.handle = processors[0].handle
        self.address = processors[0].address
        # What the kernel calls it; its compute driver's files are matched by that.
        self.device = Path(self.address)
        asic = self._asic()
        model = str(asic.get("market_name", _UNLISTED))
        self.model = model if model != _UNLISTED else "AMD GPU"
        units = asic.get("num_compute_units")
        self.compute_units = units if isinstance(units, int) else 0
        self.uuid = self._uuid(asic)
        self.limit_mw = _or_default(lambda: self._cap_mw("max_power_cap"), 0)
        self.size_bytes = _or_default(lambda: self.memory_bytes("vram_total"), 0)
        # What it is divided into, by name, as holders name parts.
        self.parts: dict[str, int] = {}
        self.rocr_devices = len(self.processors)
        self.device_numbers: frozenset[tuple[int, int]] = frozenset()
        self.look_for: Callable[[int], dict[int, int]] = _untold
        self._processes = Processes(amdsmi, self.processors, self.compute_units)
        self.look: Callable[[int], dict[int, int]] = self.running

    @translated
    def accumulated(self) -> tuple[int, float]:
        """Return the energy accumulator, and what a unit of it is in µJ, more or less."""
        told = self.amdsmi.amdsmi_get_energy_count(self.handle)
        return there(told["energy_accumulator"], 64), float(told["counter_resolution"])

    def power_mw(self) -> int:
        """Return the power of the whole socket: averaged where that is told, else momentary."""
        average_mw, momentary_mw = self.powers_mw()
        return average_mw or momentary_mw

    def momentary_mw(self) -> int:
        """Return the momentary power, where it is told apart from the average."""
        average_mw, momentary_mw = self.powers_mw()
        if not average_mw or not momentary_mw:
            raise UnsupportedError("one power")
        return momentary_mw

    @translated
    def powers_mw(self) -> tuple[int, int]:
        """Return the averaged and the momentary power; 0: not told. Old releases tell one of them only."""
        told = self.amdsmi.amdsmi_get_power_info(self.handle)
        found = {}
        for name in ("average", "current", "any"):
            with contextlib.suppress(UnsupportedError):
                found[name] = there(told.get("socket_power" if name == "any" else f"{name}_socket_power"))
        if not found:
            raise UnsupportedError("no power")
        average_w = found.get("average", 0)
        return average_w * 1000, found.get("current", 0 if average_w else found.get("any", 0)) * 1000

    @translated
    def limit_enforced_mw(self) -> int:
        """Return the power limit in force."""
        return self._cap_mw("power_cap")

    @translated
    def limit_default_mw(self) -> int:
        """Return the power limit after a reset."""
        return self._cap_mw("default_power_cap")

    @translated
    def activity_ppm(self, name: str, processor: int = 0) -> int:
        """Return the share of time in which an engine (gfx, umc, mm) was busy."""
        told = self.amdsmi.amdsmi_get_gpu_activity(self.processors[processor].handle)
        return min(there(told[f"{name}_activity"]), _WHOLE_PERCENT) * _PPM_A_PERCENT

    @translated
    def clock_khz(self, name: str) -> int:
        """Return a clock (GFX, MEM)."""
        kind = getattr(self.amdsmi.AmdSmiClkType, name)
        mhz = there(self.amdsmi.amdsmi_get_clock_info(self.handle, kind)["clk"])
        if mhz > _MOST_MHZ:
            raise UnsupportedError(f"a clock of {mhz} MHz")
        return mhz * 1000

    @translated
    def memory_bytes(self, name: str, processor: int = 0) -> int:
        """Return vram_used or vram_total, which are told in MiB."""
        told = self.amdsmi.amdsmi_get_gpu_vram_usage(self.processors[processor].handle)
        return there(told[name], 32, 64) * _MIB

    @translated
    def temperature_mc(self, *sensors: str) -> int:
        """Return the temperature of the first of the sensors (HOTSPOT, EDGE, VRAM) that is told."""
        kinds, current = self.amdsmi.AmdSmiTemperatureType, self.amdsmi.AmdSmiTemperatureMetric.CURRENT
        last = DriverError("no sensor")
        for name in sensors:
            try:
                return self._degrees(getattr(kinds, name), current) * 1000
            except DriverError as error:
                last = error
        raise last

    @translated
    def ecc(self) -> tuple[int, int]:
        """Return the memory errors that were corrected, and that could not be."""
        told = self.amdsmi.amdsmi_get_gpu_total_ecc_count(self.handle)
        return there(told["correctable_count"], 64), there(told["uncorrectable_count"], 64)

    @translated
    def pcie_link(self) -> tuple[int, int]:
        """Return the link's generation and its lanes, as they are now."""
        told = self.amdsmi.amdsmi_get_pcie_info(self.handle)["pcie_metric"]
        generation = _GENERATION_OF_SPEED.get(there(told["pcie_speed"]))
        if generation is None:
            raise UnsupportedError(f"a link of {told['pcie_speed']} MT/s")
        return generation, there(told["pcie_width"])

    @translated
    def pcie_replays(self) -> int:
        """Return the packets that were sent again."""
        return there(self.amdsmi.amdsmi_get_pcie_info(self.handle)["pcie_metric"]["pcie_replay_count"], 64)

    @translated
    def residency(self) -> Residency:
        """Return for how many of the firmware's ticks it was held back, by power and by heat."""
        told = self.amdsmi.amdsmi_get_violation_status(self.handle)
        # Several kinds of heat at once are one time held back: the longest is the least that it can be.
        heat = [told[f"acc_{name}_thrm"] for name in ("prochot", "socket", "vr", "hbm")]
        known = [value for value in heat if isinstance(value, int)]
        return Residency(
            there(told["acc_counter"], 64), there(told["acc_ppt_pwr"], 64), max(known, default=0)
        )

    @translated
    def links_bytes(self) -> tuple[int, int]:
        """Return what was received and sent over all xGMI links; it is told in KiB."""
        told = self.amdsmi.amdsmi_get_gpu_metrics_info(self.handle)
        sums = []
        for name in ("xgmi_read_data_acc", "xgmi_write_data_acc"):
            known = [value for value in told[name] if isinstance(value, int)]
            if not known:
                raise UnsupportedError("no xGMI links")
            sums.append(sum(known) * 1024)
        return sums[0], sums[1]

    @translated
    def modes(self) -> tuple[str, str]:
        """Return how compute units and memory are divided: SPX, DPX, CPX and NPS1, NPS4; "": not told."""
        found = []
        for ask in (
            self.amdsmi.amdsmi_get_gpu_compute_partition,
            self.amdsmi.amdsmi_get_gpu_memory_partition,
        ):
            try:
                mode = str(ask(self.handle)).strip()
            except self.amdsmi.AmdSmiLibraryException:
                mode = ""
            found.append(mode if mode.isalnum() else "")
        return found[0], found[1]

    def share_ppm(self) -> int:
        """Return the part of the GPU that each of its processors is."""
        return WHOLE_PPM // len(self.processors)

    def processes(self, now_us: int) -> dict[int, int]:
        """Return the processes on the GPU and their shares of it in ppm; 0: not told.

        BlockedError: the driver takes too long.
        """
        return self.look(now_us)

    def running(self, now_us: int) -> dict[int, int]:
        """Return the same, in this thread; the compute driver's files stand in for what AMD SMI refuses."""
        try:
            return self._processes.running(now_us)
        except DriverError as error:
            try:
                return self.look_for(self.index)
            except OSError:
                raise error from None

    @translated
    def _asic(self) -> dict[str, Any]:
        try:
            return dict(self.amdsmi.amdsmi_get_gpu_asic_info(self.handle))
        except self.amdsmi.AmdSmiLibraryException as error:
            if error.err_code in (2, 3, 40):
                return {}
            raise

    def _uuid(self, asic: dict[str, Any]) -> str:
        """Return GPU- and its serial number, as programs name it (ROCR_VISIBLE_DEVICES)."""
        for told in (self._hip_uuid(), str(asic.get("asic_serial", _UNLISTED))):
            serial = told.removeprefix("GPU-").removeprefix("0x").removeprefix("0X").lower()
            if serial.strip("0") and serial.isalnum():
                return f"GPU-{serial}"
        return self.address

    def _hip_uuid(self) -> str:
        try:
            return self._enumerated()
        except DriverError:
            return ""

    @translated
    def _enumerated(self) -> str:
        ask = getattr(self.amdsmi, "amdsmi_get_gpu_enumeration_info", None)
        return str(ask(self.handle)["hip_uuid"]) if ask is not None else ""

    @translated
    def _cap_mw(self, name: str) -> int:
        cap_mw = there(self.amdsmi.amdsmi_get_power_cap_info(self.handle)[name], 32, 64) // 1000
        if not cap_mw:
            raise UnsupportedError("no power limit")
        return cap_mw

    @translated
    def _degrees(self, kind: Any, metric: Any) -> int:
        degrees = int(self.amdsmi.amdsmi_get_temp_metric(self.handle, kind, metric))
        if not _LEAST_DEGREES < degrees < _MOST_DEGREES:
            raise UnsupportedError(f"a temperature of {degrees} °C")
        return degrees


def _untold(_: int) -> dict[int, int]:
    raise UnsupportedError("the compute driver is not there")


def _or_default(ask: Callable[[], int], default: int) -> int:
    try:
        return ask()
    except DriverError:
        return default
