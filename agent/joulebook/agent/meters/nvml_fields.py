"""Many of a GPU's figures in one call: NVML API Reference Guide, nvmlDeviceGetFieldValues."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from ctypes import c_ulonglong
from dataclasses import dataclass
from typing import Any

from joulebook.agent.meters.codes import UnsupportedError
from joulebook.agent.meters.growing import Growing
from joulebook.agent.meters.nvml_calls import function
from joulebook.agent.meters.nvml_codes import error_of
from joulebook.agent.source import Metric
from joulebook.v1 import metrics_pb2 as metrics

# nvmlFieldValue_t: field, scope, timestamp, latency, type, code, value.
_VALUE = struct.Struct("=IIqqIiQ")
_ASKED = struct.Struct("=II")
# nvmlValueType_t: what of the union holds the value.
_DOUBLE, _UINT, _SLL, _SINT, _USHORT = 0, 1, 4, 5, 6
_BITS = {_UINT: 32, _SINT: 32, _USHORT: 16}
# NVML_POWER_SCOPE_MODULE; the sum over all links.
MODULE = 1
_ALL_LINKS = 0xFFFFFFFF

POWER_AVERAGE, POWER_INSTANT = 185, 186


@dataclass(frozen=True, slots=True)
class Field:
    """A field (NVML_FI_DEV_…), what it is a part of, and what makes the metric's unit of it."""

    number: int
    metric: Metric
    factor: int = 1
    scope: int = 0
    is_counter: bool = False


# Each tick.
POWER = (
    Field(POWER_AVERAGE, metrics.METRIC_DEVICE_GPU_POWER),
    Field(POWER_INSTANT, metrics.METRIC_DEVICE_GPU_POWER_INSTANT),
)
# What may be a little old.
REST = (
    Field(82, metrics.METRIC_DEVICE_GPU_MEMORY_TEMPERATURE, factor=1000),
    Field(3, metrics.METRIC_DEVICE_GPU_ECC_CORRECTED, is_counter=True),
    Field(4, metrics.METRIC_DEVICE_GPU_ECC_UNCORRECTED, is_counter=True),
    Field(94, metrics.METRIC_DEVICE_GPU_PCIE_REPLAYS, is_counter=True),
    Field(198, metrics.METRIC_DEVICE_GPU_PCIE_RECEIVED, is_counter=True),
    Field(197, metrics.METRIC_DEVICE_GPU_PCIE_SENT, is_counter=True),
    # In KiB.
    Field(139, metrics.METRIC_DEVICE_GPU_NVLINK_RECEIVED, factor=1024, scope=_ALL_LINKS, is_counter=True),
    Field(138, metrics.METRIC_DEVICE_GPU_NVLINK_SENT, factor=1024, scope=_ALL_LINKS, is_counter=True),
    Field(38, metrics.METRIC_DEVICE_GPU_NVLINK_ERRORS, is_counter=True),
    Field(52, metrics.METRIC_DEVICE_GPU_NVLINK_ERRORS, is_counter=True),
    Field(59, metrics.METRIC_DEVICE_GPU_NVLINK_ERRORS, is_counter=True),
)
MODULE_POWER = (Field(POWER_INSTANT, metrics.METRIC_DEVICE_GPU_POWER_INSTANT, scope=MODULE),)


def parse(values: Any) -> list[int | None]:
    """Parse an array of nvmlFieldValue_t; None where a field has no value.

    What else is in the union than its type says is noise.
    """
    found: list[int | None] = []
    for _, _, _, _, kind, code, raw in _VALUE.iter_unpack(values):
        if code:
            found.append(None)
            continue
        if kind == _DOUBLE:
            value = struct.unpack("=d", raw.to_bytes(8, "little"))[0]
            found.append(int(value) if abs(value) < 2**63 else None)
            continue
        bits = _BITS.get(kind, 64)
        value = raw & ((1 << bits) - 1)
        if kind in (_SLL, _SINT) and value >> (bits - 1):
            found.append(None)
        elif value >= (1 << bits) - 1 or value == (1 << (bits - 1)) - 1:
            # All bits, or all but the sign, stand for none.
            found.append(None)
        else:
            found.append(value)
    return found


class Fields:
    """The fields that a GPU has, of those asked for, and their metrics; those of one metric add up.

    A counter goes on where it stood when the driver begins it again.
    """

    def __init__(self, nvml: Any, handle: Any, wanted: Iterable[Field]) -> None:
        """Ask once. UnsupportedError: it has none of them."""
        self._call = function(nvml, "nvmlDeviceGetFieldValues")
        self._ask_for(tuple(wanted))
        found = self._ask(handle)
        self._ask_for(tuple(f for f, value in zip(self._fields, found, strict=True) if value is not None))
        if not self._fields:
            raise UnsupportedError("no such field")
        self._growing = [Growing() if field.is_counter else None for field in self._fields]
        self.metrics: tuple[Metric, ...] = tuple(dict.fromkeys(field.metric for field in self._fields))
        self._place = [self.metrics.index(field.metric) for field in self._fields]
        self._last = [0] * len(self._fields)

    def read(self, handle: Any) -> Sequence[int]:
        """Return one value a metric; a field that fails for once keeps its last one."""
        last = self._last
        for i, (value, growing) in enumerate(zip(self._ask(handle), self._growing, strict=True)):
            if value is not None:
                last[i] = (value if growing is None else growing.update(value)) * self._fields[i].factor
        found = [0] * len(self.metrics)
        for place, value in zip(self._place, last, strict=True):
            found[place] += value
        return found

    def _ask_for(self, fields: tuple[Field, ...]) -> None:
        """Make room for what the driver writes, once: it leaves the numbers of the fields as they are."""
        self._fields = fields
        self._values = (c_ulonglong * (len(fields) * _VALUE.size // 8))()
        self._view = memoryview(self._values).cast("B")
        for place, field in enumerate(fields):
            _ASKED.pack_into(self._view, place * _VALUE.size, field.number, field.scope)

    def _ask(self, handle: Any) -> list[int | None]:
        if code := self._call(handle, len(self._fields), self._values):
            raise error_of(code)
        found = parse(self._view)
        if found and all(value is None for value in found):
            # Some drivers serve the call and fail every field of it.
            code = next(code for *_, code, _ in _VALUE.iter_unpack(self._view))
            raise error_of(code) if code else UnsupportedError("no value")
        return found
