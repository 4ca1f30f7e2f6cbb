"""What a vendor's library says by numbers, as errors that say what is wrong and what mends it."""

from __future__ import annotations

from collections.abc import Mapping


class DriverError(OSError):
    """A call that the driver or its library did not serve; fix says what mends it."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.fix = fix


class UnsupportedError(DriverError):
    """This GPU or driver does not have it: normal."""


class GpuLostError(DriverError):
    """The GPU does not answer any more."""


class StaleError(DriverError):
    """The driver that the library was begun with is gone, or was loaded again: it must be begun again."""


class Codes:
    """The errors that a library's codes stand for, by tables that need no import of it."""

    def __init__(
        self, library: str, faults: Mapping[int, tuple[type[DriverError], str, str]], fix: str
    ) -> None:
        """faults has kind, reason and fix by code; fix is for codes that are not in it."""
        self._library, self._faults, self._fix = library, faults, fix

    def error_of(self, code: int) -> DriverError:
        """Return the error that a code stands for."""
        kind, reason, fix = self._faults.get(code, (DriverError, f"{self._library} code {code}", self._fix))
        return kind(reason, fix)
