"""What a TPU's runtime says of its metrics: tpu.monitoring.runtime.RuntimeMetricService, port 8431.

The messages are few and small, so they are read as they are on the wire: protobuf.dev, "Encoding". Field
numbers are those of the stubs that tpu-info ships (PyPI, Apache-2.0).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

METHOD = "/tpu.monitoring.runtime.RuntimeMetricService/GetRuntimeMetric"
DUTY_CYCLE = "tpu.runtime.tensorcore.dutycycle.percent"
MEMORY_USED = "tpu.runtime.hbm.memory.usage.bytes"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Longer than any message that a host's chips can fill.
_MOST_BYTES = 1 << 20


class WireError(ValueError):
    """Bytes that are no such message."""


def request(metric: str) -> bytes:
    """Return a MetricRequest for a metric."""
    name = metric.encode()
    return bytes((1 << 3 | _BYTES, len(name))) + name


def parse_gauges(response: bytes) -> dict[int, float]:
    """Parse a MetricResponse: the gauge of each device by its number. WireError: it is none."""
    found = {}
    for metric in _messages(response, 1):
        for one in _messages(metric, 3):
            device = 0
            for attribute in _messages(one, 1):
                for value in _messages(attribute, 2):
                    device = next((v for v in _numbers(value, 3)), 0)
            for gauge in _messages(one, 3):
                doubles = [struct.unpack("<d", v)[0] for v in _doubles(gauge, 1)]
                number = doubles or [float(v) for v in _numbers(gauge, 2)]
                # A gauge of 0 is an empty message.
                found[device] = number[0] if number else 0.0
    return found


def _messages(data: bytes, wanted: int) -> list[bytes]:
    return [value for number, kind, value in _fields(data) if number == wanted and kind == _BYTES]


def _doubles(data: bytes, wanted: int) -> list[bytes]:
    return [value for number, kind, value in _fields(data) if number == wanted and kind == _FIXED64]


def _numbers(data: bytes, wanted: int) -> list[int]:
    values = [value for number, kind, value in _fields(data) if number == wanted and kind == _VARINT]
    return [int.from_bytes(value, "little") for value in values]


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Give each field's number, its kind on the wire, and its bytes (of a varint: little endian)."""
    if len(data) > _MOST_BYTES:
        raise WireError(f"{len(data)} bytes: expected at most {_MOST_BYTES}")
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, kind, value.to_bytes(10, "little")
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise WireError(f"a field of kind {kind} at byte {at}")
        if at + length > len(data):
            raise WireError(f"cut short: {length} bytes expected at byte {at} of {len(data)}")
        yield tag >> 3, kind, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise WireError(f"no number ends at byte {at}")
