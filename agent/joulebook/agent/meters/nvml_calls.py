"""NVML's calls that ticks make, straight to the library that the bindings began; what they write to is kept.

The bindings make structures anew for every call, wrap each record of a list, and ask for a list twice: for
its length first. Here a call is one call of the driver. What it returns is good until the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ctypes import c_uint, c_ulonglong
from struct import Struct
from typing import Any

from joulebook.agent.meters.nvml_codes import error_of

_NOT_FOUND, _TOO_SMALL, _FUNCTION_NOT_FOUND = 6, 7, 13
# As many records as fit at first, and how often a list is asked for that grows meanwhile.
_ROOM, _TRIES = 128, 3


def function(nvml: Any, *names: str) -> Callable[..., int]:
    """Return the first of these functions that the library has; where it has none, what returns that code."""
    for name in names:
        if (found := getattr(nvml.nvmlLib, name, None)) is not None:
            return found  # type: ignore[no-any-return]
    return lambda *_: _FUNCTION_NOT_FOUND


class Numbers:
    """A call that writes numbers of one width. DriverError: it is not served."""

    __slots__ = ("_before", "_call", "_numbers")

    def __init__(self, nvml: Any, name: str, width: type[c_uint | c_ulonglong], many: int = 1) -> None:
        self._call = function(nvml, name)
        self._numbers = (width * many)()

    def one(self, handle: Any, *before: int) -> int:
        """Return the first; before comes before what is written to."""
        if code := self._call(handle, *before, self._numbers):
            raise error_of(code)
        return self._numbers[0]

    def all(self, handle: Any) -> tuple[int, ...]:
        """Return all of them."""
        if code := self._call(handle, self._numbers):
            raise error_of(code)
        return tuple(self._numbers)


class Records:
    """A call that writes a list of records. DriverError: it is not served; a list with nothing in it is."""

    def __init__(self, nvml: Any, record: Struct, *names: str) -> None:
        """names are the forms of the function, the newest first."""
        self._call = function(nvml, *names)
        self._record = record
        self._count = (c_uint * 1)()
        self._make_room(_ROOM)

    def of(self, handle: Any) -> Iterable[tuple[Any, ...]]:
        """Return them, of a function that takes their number first."""
        return self._ask(lambda: self._call(handle, self._count, self._records))

    def since(self, handle: Any, seen: int) -> Iterable[tuple[Any, ...]]:
        """Return those of a later time, of a function that takes their number last."""
        return self._ask(lambda: self._call(handle, self._records, self._count, c_ulonglong(seen)))

    def _ask(self, call: Callable[[], int]) -> Iterable[tuple[Any, ...]]:
        for _ in range(_TRIES):
            self._count[0] = self._room
            code = call()
            if code != _TOO_SMALL:
                break
            self._make_room(2 * max(self._count[0], self._room))
        if code == _NOT_FOUND:
            return ()
        if code:
            raise error_of(code)
        return self._record.iter_unpack(self._view[: min(self._count[0], self._room) * self._record.size])

    def _make_room(self, records: int) -> None:
        self._room = records
        self._records = (c_ulonglong * (records * self._record.size // 8))()
        self._view = memoryview(self._records).cast("B")
