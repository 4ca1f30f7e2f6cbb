"""The checksum that DuckDB keeps beside what it writes (src/common/checksum.cpp)."""

from __future__ import annotations

import numpy as np

_NOTHING = 5381
_WORD = 0xBF58476D1CE4E5B9
_REST, _REST_SEED = 0xC6A4A7935BD1E995, 0xE17A1465
_64_BITS = (1 << 64) - 1


def checksum(data: bytes) -> int:
    """Return the checksum of some bytes: of each 8 of them by itself, and of the up to 7 that are left."""
    whole = len(data) // 8 * 8
    words = np.frombuffer(data, dtype="<u8", count=whole // 8)
    found = int(np.bitwise_xor.reduce(words * np.uint64(_WORD))) ^ _NOTHING
    return found ^ _of_rest(data[whole:]) if whole < len(data) else found


def _of_rest(data: bytes) -> int:
    found = _REST_SEED ^ (len(data) * _REST & _64_BITS)
    found = (found ^ int.from_bytes(data, "little")) * _REST & _64_BITS
    found = (found ^ found >> 47) * _REST & _64_BITS
    return found ^ found >> 47
