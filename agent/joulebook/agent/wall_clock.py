"""The times that a node's Reports have on the wall clock, which may be set back over times that were there.

Stores that keep points by wall clock would write one Report over another's. Only the agent sees every Report
of its node, so it numbers them: whichever collector takes one knows it apart from those that others took.
"""

import logging
import os
from pathlib import Path

from joulebook.agent.spool.files import KERNEL, Files
from joulebook.v1 import report_pb2
from joulebook.v1.naming import MAX_WALL_CLOCK

_log = logging.getLogger(__name__)

FILE = "wall-clock"
# One line a number: µs in so many digits. It is written in place.
_DIGITS = 19
_LINE_BYTES = _DIGITS + 1


class WallClock:
    """Numbers the Reports of a node, and remembers up to when each number has been used.

    Kept in a directory, its memory outlives the agent. It is not synced: of a power cut the last seconds may
    be missing.
    """

    def __init__(self, directory: Path | None, files: Files = KERNEL) -> None:
        self._files = files
        self._fd: int | None = None
        # Of each number: where its newest interval ended.
        self._used_us: list[int] = []
        if directory is None:
            return
        self._path = directory / FILE
        try:
            self._fd = files.open(self._path, os.O_CREAT)
            kept = files.read_at(self._fd, _LINE_BYTES * (MAX_WALL_CLOCK + 1), 0)
            try:
                self._used_us = [int(word) for word in kept.split()]
            except ValueError:
                _log.warning("%s: %r: expected times in µs; begun anew", self._path, kept[:40])
                files.truncate(self._fd, 0)
        except OSError as error:
            self._do_without(error)

    def stamp(self, report: report_pb2.Report) -> None:
        """Give a Report the lowest number under which nothing ended yet at its times, or later."""
        began_us = report.sequence + report.realtime_offset_us
        first_us = began_us + report.interval_us[0]
        free = (number for number, used_us in enumerate(self._used_us) if used_us < first_us)
        number = min(next(free, len(self._used_us)), MAX_WALL_CLOCK)
        report.wall_clock = number
        end_us = began_us + sum(report.interval_us)
        self._used_us[number : number + 1] = [end_us]
        if self._fd is not None:
            try:
                line = f"{end_us:0{_DIGITS}d}\n".encode()
                self._files.write_at(self._fd, line, number * _LINE_BYTES)
            except OSError as error:
                self._do_without(error)

    def _do_without(self, error: OSError) -> None:
        _log.warning(
            "%s: %s; the times of reports are remembered until this agent ends: if the clock is set back "
            "then, collectors tell reports apart by what they know themselves",
            self._path,
            error,
        )
        self.close()

    def close(self) -> None:
        """Give the file back."""
        if self._fd is not None:
            self._files.close(self._fd)
            self._fd = None
