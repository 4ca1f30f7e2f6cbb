"""Profiling figures of a GPU or a MIG instance, from Hopper on: NVML API Reference Guide, "GPM Functions"."""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Sequence
from typing import Any

from joulebook.agent.meters.codes import DriverError, UnsupportedError
from joulebook.agent.meters.growing import Accumulated
from joulebook.agent.meters.nvml_codes import translated
from joulebook.agent.source import Metric
from joulebook.v1 import metrics_pb2 as metrics

# nvmlGpmMetric_t: metric, code, value, and three names.
_METRIC = struct.Struct("=Iid24x")
_PPM_A_PERCENT = 10_000
_MIB = 1 << 20
# nvmlGpmMetricId_t: shares in per cent, and rates in MiB a second.
_SHARES = {
    1: metrics.METRIC_DEVICE_GPU_GRAPHICS_ACTIVE,
    2: metrics.METRIC_DEVICE_GPU_SM_ACTIVE,
    3: metrics.METRIC_DEVICE_GPU_SM_OCCUPANCY,
    4: metrics.METRIC_DEVICE_GPU_INTEGER_ACTIVE,
    5: metrics.METRIC_DEVICE_GPU_TENSOR_ACTIVE,
    10: metrics.METRIC_DEVICE_GPU_DRAM_ACTIVE,
    11: metrics.METRIC_DEVICE_GPU_FP64_ACTIVE,
    12: metrics.METRIC_DEVICE_GPU_FP32_ACTIVE,
    13: metrics.METRIC_DEVICE_GPU_FP16_ACTIVE,
}
_RATES = {
    21: metrics.METRIC_DEVICE_GPU_PCIE_RECEIVED,
    20: metrics.METRIC_DEVICE_GPU_PCIE_SENT,
    60: metrics.METRIC_DEVICE_GPU_NVLINK_RECEIVED,
    61: metrics.METRIC_DEVICE_GPU_NVLINK_SENT,
}


class Gpm:
    """Two samples and what lies between them. It costs a sample and a computation a reading."""

    def __init__(
        self, nvml: Any, handle: Any, *, but: Sequence[Metric] = (), instance: int | None = None
    ) -> None:
        """Learn what there is, besides what others tell. UnsupportedError: nothing."""
        self.nvml = nvml
        self._instance = instance
        known = {**_SHARES, **(_RATES if instance is None else {})}
        wanted = {number: metric for number, metric in known.items() if metric not in but}
        self._older, self._newer, self._get = self._begin(handle, list(wanted))
        try:
            self._sample(handle, self._older)
            found = self._between(handle)
        except DriverError:
            self.close()
            raise
        there = [number for number, value in zip(wanted, found, strict=True) if value is not None]
        if not there:
            self.close()
            raise UnsupportedError("no profiling figures")
        self._ask_for(there)
        self.metrics: tuple[Metric, ...] = tuple(wanted[number] for number in there)
        self._sums = [Accumulated() if number in _RATES else None for number in there]
        self._last = [0] * len(there)

    def read(self, handle: Any, now_us: int) -> Sequence[int]:
        """Return one value a metric, of the time since the last reading."""
        last = self._last
        for i, (value, total) in enumerate(zip(self._between(handle), self._sums, strict=True)):
            if value is None:
                continue
            if total is not None:
                last[i] = total.update(value * _MIB, now_us)
            else:
                last[i] = min(int(value * _PPM_A_PERCENT), 100 * _PPM_A_PERCENT)
        return last.copy()

    @translated
    def close(self) -> None:
        """Give the samples back."""
        samples, self._older, self._newer = (self._older, self._newer), None, None
        for sample in samples:
            if sample is not None:
                self.nvml.nvmlGpmSampleFree(sample)

    def renew(self, handle: Any) -> None:
        """Take new samples, after NVML was begun again."""
        self._older, self._newer = self._samples()
        self._sample(handle, self._older)

    @translated
    def _begin(self, handle: Any, numbers: Sequence[int]) -> tuple[Any, Any, Any]:
        nvml = self.nvml
        if not nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
            raise UnsupportedError("no profiling figures")
        get = nvml.c_nvmlGpmMetricsGet_t()
        get.version = nvml.NVML_GPM_METRICS_GET_VERSION
        older, newer = self._samples()
        self._get = get
        self._ask_for(numbers)
        return older, newer, get

    @translated
    def _samples(self) -> tuple[Any, Any]:
        nvml = self.nvml
        older = nvml.nvmlGpmSampleAlloc()
        try:
            return older, nvml.nvmlGpmSampleAlloc()
        except nvml.NVMLError:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlGpmSampleFree(older)
            raise

    def _ask_for(self, numbers: Sequence[int]) -> None:
        get = self._get
        get.numMetrics = len(numbers)
        for place, number in enumerate(numbers):
            get.metrics[place].metricId = number
        begin = type(get).metrics.offset
        self._found = memoryview(get).cast("B")[begin : begin + _METRIC.size * len(numbers)]

    @translated
    def _sample(self, handle: Any, into: Any) -> None:
        if self._instance is None:
            self.nvml.nvmlGpmSampleGet(handle, into)
        else:
            self.nvml.nvmlGpmMigSampleGet(handle, self._instance, into)

    @translated
    def _between(self, handle: Any) -> list[float | None]:
        if self._newer is None:
            raise UnsupportedError("no samples")
        self._sample(handle, self._newer)
        get = self._get
        get.sample1, get.sample2 = self._older, self._newer
        self.nvml.nvmlGpmMetricsGet(get)
        self._older, self._newer = self._newer, self._older
        return [
            None if code or not math.isfinite(value) or value < 0 else value
            for _, code, value in _METRIC.iter_unpack(self._found)
        ]
