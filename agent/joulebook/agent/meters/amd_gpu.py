"""One AMD GPU: its table, its power sensor, and the files that fill in what the table has not.

Documentation/gpu/amdgpu/thermal.rst, driver-misc.rst and ras.rst.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.meters.amd_held import HeldBack
from joulebook.agent.meters.amd_layouts import TableError
from joulebook.agent.meters.amd_metered import Reading
from joulebook.agent.meters.amd_table import AmdTable, parse, parse_energy_uj
from joulebook.agent.meters.growing import Growing
from joulebook.agent.meters.hwmon_sensors import Sensor
from joulebook.agent.source import Metric
from joulebook.agent.sysfs import text
from joulebook.v1 import metrics_pb2 as metrics

_TABLE_BYTES = 4096
_LINE_BYTES = 256
# What moves slowly is read in turns, each GPU at another tick; _SELDOM is a multiple of _OFTEN.
_OFTEN, _SELDOM = 2, 30

_FROM_TABLE: tuple[tuple[Metric, Callable[[AmdTable], int | None]], ...] = (
    (metrics.METRIC_DEVICE_GPU_UTILISATION, lambda table: table.utilisation_ppm),
    (metrics.METRIC_DEVICE_GPU_MEMORY_UTILISATION, lambda table: table.memory_utilisation_ppm),
    (metrics.METRIC_DEVICE_GPU_TEMPERATURE, lambda table: table.temperature_mc),
    (metrics.METRIC_DEVICE_GPU_MEMORY_TEMPERATURE, lambda table: table.memory_temperature_mc),
    (metrics.METRIC_DEVICE_GPU_SM_CLOCK, lambda table: table.clock_khz),
    (metrics.METRIC_DEVICE_GPU_MEMORY_CLOCK, lambda table: table.memory_clock_khz),
    (metrics.METRIC_DEVICE_GPU_PCIE_LINK_GENERATION, lambda table: table.pcie_generation),
    (metrics.METRIC_DEVICE_GPU_PCIE_LINK_WIDTH, lambda table: table.pcie_width),
)
_COUNTED: tuple[tuple[Metric, Callable[[AmdTable], int | None]], ...] = (
    (metrics.METRIC_DEVICE_GPU_PCIE_REPLAYS, lambda table: table.pcie_replays),
    (metrics.METRIC_DEVICE_GPU_NVLINK_RECEIVED, lambda table: table.links_received_bytes),
    (metrics.METRIC_DEVICE_GPU_NVLINK_SENT, lambda table: table.links_sent_bytes),
)
_THROTTLED: tuple[Metric, ...] = (
    metrics.METRIC_DEVICE_GPU_THROTTLED_POWER,
    metrics.METRIC_DEVICE_GPU_THROTTLED_THERMAL,
    metrics.METRIC_DEVICE_GPU_THROTTLED_OTHER,
)
# Files beside the table: metric, name, whether it is the sensor's, and what makes the catalogue's unit of it.
_FILES: tuple[tuple[Metric, str, bool, float], ...] = (
    (metrics.METRIC_DEVICE_GPU_MEMORY_USED, "mem_info_vram_used", False, 1),
    (metrics.METRIC_DEVICE_GPU_UTILISATION, "gpu_busy_percent", False, 10_000),
    (metrics.METRIC_DEVICE_GPU_MEMORY_UTILISATION, "mem_busy_percent", False, 10_000),
    (metrics.METRIC_DEVICE_GPU_TEMPERATURE, "temp2_input", True, 1),
    (metrics.METRIC_DEVICE_GPU_TEMPERATURE, "temp1_input", True, 1),
    (metrics.METRIC_DEVICE_GPU_MEMORY_TEMPERATURE, "temp3_input", True, 1),
    (metrics.METRIC_DEVICE_GPU_SM_CLOCK, "freq1_input", True, 0.001),
    (metrics.METRIC_DEVICE_GPU_MEMORY_CLOCK, "freq2_input", True, 0.001),
    (metrics.METRIC_DEVICE_GPU_POWER_LIMIT, "power1_cap", True, 0.001),
    (metrics.METRIC_DEVICE_GPU_POWER_LIMIT_DEFAULT, "power1_cap_default", True, 0.001),
)
_SLOW = frozenset((metrics.METRIC_DEVICE_GPU_POWER_LIMIT, metrics.METRIC_DEVICE_GPU_POWER_LIMIT_DEFAULT))
_ERRORS = (
    (metrics.METRIC_DEVICE_GPU_ECC_CORRECTED, b"ce"),
    (metrics.METRIC_DEVICE_GPU_ECC_UNCORRECTED, b"ue"),
)


def parse_error_count(data: bytes, kind: bytes) -> int | None:
    """Parse ras/umc_err_count ("ue: 0\\nce: 3\\n"); see Documentation/gpu/amdgpu/ras.rst."""
    match = re.search(rb"^%s:\s*([0-9]{1,18})\s*$" % kind, data, re.MULTILINE)
    return int(match[1]) if match else None


@dataclass(slots=True)
class _File:
    metric: Metric
    fd: int
    factor: float


class AmdGpu:
    """A GPU by its power sensor. Descriptors stay open; close() gives them back."""

    def __init__(self, domain: str, sensor: Sensor) -> None:
        """Look what it tells. OSError: not even its power can be read."""
        device = sensor.device
        self.domain = domain
        self.index = self.minor = int(domain.partition(".")[2])
        # As programs are given it: ROCR_VISIBLE_DEVICES=GPU-….
        serial = text(device / "unique_id").decode(errors="replace")
        self.uuid = f"GPU-{serial}" if serial else ""
        self.model = text(device / "product_name").decode(errors="replace") or "AMD GPU"
        self.parts: dict[str, int] = {}
        self.rocr_devices = 1
        self.device_numbers: frozenset[tuple[int, int]] = frozenset()
        self.device = device
        self.size_bytes = _number(text(device / "mem_info_vram_total"))
        self.limit_mw = _number(text(sensor.path.with_name("power1_cap_max"))) // 1000
        # Why the table is not read; "": it is.
        self.table_trouble = ""
        self.modes = ", ".join(
            f"{name} partitions {mode.decode(errors='replace')}"
            for name in ("compute", "memory")
            if (mode := text(device / f"current_{name}_partition"))
        )
        self.look_for: Callable[[int], dict[int, int]] = _nobody
        self._fds: list[int] = []
        self._counts: dict[Metric, Growing] = {}
        self._throttled_us = [0, 0, 0]
        self._held = HeldBack()
        self._read_us = -1
        self._round = self.index
        try:
            self._power_fd = self._open(sensor.path)
            table = self._first_table()
            self.has_counter = table is not None and table.energy_uj is not None
            self._files = self._open_files(sensor.path.parent, table)
            self._error_fd = self._open_errors()
            self.last: dict[Metric, int] = {}
            self.look(-1)
        except BaseException:
            self.close()
            raise
        self.metrics: tuple[Metric, ...] = tuple(self.last)

    @property
    def gauges(self) -> Sequence[int]:
        """Return one value a metric."""
        return [self.last[metric] for metric in self.metrics]

    def look(self, now_us: int) -> Reading:
        """Read what is due: the energy always, the rest every second time.

        OSError, ValueError: its power cannot be read.
        """
        self._round += 1
        power_mw = int(os.pread(self._power_fd, _LINE_BYTES, 0)) // 1000
        self.last[metrics.METRIC_DEVICE_GPU_POWER] = power_mw
        counted_uj = None
        # A table that cannot be read this time: the last figures stand, and a counter misses the reading.
        with contextlib.suppress(OSError, TableError):
            raw = os.pread(self._table_fd, _TABLE_BYTES, 0) if self._table_fd >= 0 else b""
            counted_uj = parse_energy_uj(raw)
            if self._is_turn(_OFTEN):
                self._take(parse(raw), now_us)
        if self._is_turn(_OFTEN):
            self._look_at_files()
        return Reading(counted_uj, power_mw)

    def _is_turn(self, every: int) -> bool:
        return self._round % every == 0 or self._read_us < 0

    def _look_at_files(self) -> None:
        is_seldom = self._is_turn(_SELDOM)
        for file in self._files:
            if is_seldom or file.metric not in _SLOW:
                with contextlib.suppress(OSError, ValueError):
                    self.last[file.metric] = int(int(os.pread(file.fd, _LINE_BYTES, 0)) * file.factor)
        if is_seldom and self._error_fd >= 0:
            with contextlib.suppress(OSError):
                data = os.pread(self._error_fd, _LINE_BYTES, 0)
                for metric, kind in _ERRORS:
                    self._count(metric, parse_error_count(data, kind))

    def processes(self, now_us: int) -> dict[int, int]:  # noqa: ARG002  (the kernel knows the time)
        """Return the processes with memory on it, and the share of its compute units that each occupies.

        OSError: the compute driver does not tell.
        """
        return self.look_for(self.index)

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def _take(self, table: AmdTable, now_us: int) -> None:
        for metric, figure in _FROM_TABLE:
            value = figure(table)
            if value is not None:
                self.last[metric] = value
        for metric, figure in _COUNTED:
            self._count(metric, figure(table))
        self._take_throttling(table, now_us)
        self._read_us = now_us

    def _take_throttling(self, table: AmdTable, now_us: int) -> None:
        """Add up the time held back: told as a share of the firmware's ticks, or seen at this look."""
        if table.residency is not None:
            self.last |= zip(_THROTTLED[:2], self._held.take(table.residency, now_us), strict=True)
        elif table.throttled is not None:
            elapsed_us = now_us - self._read_us if self._read_us >= 0 else 0
            for place, is_held in enumerate(table.throttled):
                self._throttled_us[place] += elapsed_us if is_held else 0
            self.last |= zip(_THROTTLED, self._throttled_us, strict=True)

    def _count(self, metric: Metric, raw: int | None) -> None:
        if raw is not None:
            self.last[metric] = self._counts.setdefault(metric, Growing()).update(raw)

    def _first_table(self) -> AmdTable | None:
        try:
            self._table_fd = self._open(self.device / "gpu_metrics")
            return parse(os.pread(self._table_fd, _TABLE_BYTES, 0))
        except (OSError, TableError) as error:
            self._table_fd = -1
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            self.table_trouble = f"gpu_metrics: {reason}"
            return None

    def _open(self, path: Path) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._fds.append(fd)
        return fd

    def _open_files(self, sensors: Path, table: AmdTable | None) -> list[_File]:
        known = {metric for metric, figure in _FROM_TABLE if table is not None and figure(table) is not None}
        files = []
        for metric, name, is_sensor, factor in _FILES:
            if metric in known:
                continue
            with contextlib.suppress(OSError, ValueError):
                fd = self._open((sensors if is_sensor else self.device) / name)
                int(os.pread(fd, _LINE_BYTES, 0))
                files.append(_File(metric, fd, factor))
                known.add(metric)
        return files

    def _open_errors(self) -> int:
        with contextlib.suppress(OSError):
            return self._open(self.device / "ras/umc_err_count")
        return -1


def _nobody(_: int) -> dict[int, int]:
    """Return no process: the compute driver is not there."""
    return {}


def _number(data: bytes) -> int:
    return int(data) if data.isdigit() else 0
