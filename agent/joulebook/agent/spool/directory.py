"""The spool's directory: whose it is, and what an agent before this one left there."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from joulebook.agent.spool import records
from joulebook.agent.spool.body import File
from joulebook.agent.spool.files import KERNEL, Files
from joulebook.agent.spool.records import Damage, Kind, Record, State
from joulebook.agent.spool.segment import Segment
from joulebook.v1 import report_pb2
from joulebook.v1.naming import layout_hash

_log = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{12})\.segment")
# What could not be read is kept for whoever wants to look at it, but not for ever.
_MOST_DAMAGED = 4


class SpoolTakenError(Exception):
    """Another agent has this spool."""


@dataclass(slots=True)
class Damages:
    """How many places were unreadable, and how many bytes."""

    places: int = 0
    lost_bytes: int = 0


def path_of(directory: Path, number: int) -> Path:
    """Return a segment's file."""
    return directory / f"{number:012d}.segment"


def segment_files(directory: Path, files: Files = KERNEL) -> list[tuple[int, Path]]:
    """Return the segments of a directory, oldest first. Files of other names are none of ours."""
    found = [match for name in files.names(directory) if (match := _NAME.fullmatch(name))]
    return sorted((int(match[1]), directory / match[0]) for match in found)


def take(directory: Path, files: Files = KERNEL) -> int:
    """Make the directory where it is missing, and take it for this agent; return the lock's descriptor.

    Raises SpoolTakenError, or OSError where the directory cannot be used.
    """
    files.make_directory(directory)
    fd = files.open(directory / "lock", os.O_CREAT)
    try:
        files.lock(fd)
    except OSError as error:
        holder = ""
        with suppress(OSError):
            holder = files.read_at(fd, 32, 0).decode(errors="replace").strip()
        holder = holder or "unknown"
        files.close(fd)
        if isinstance(error, BlockingIOError):
            raise SpoolTakenError(
                f"agent.spool {directory}: the agent with pid {holder} uses it; "
                "stop that one, or give this one another directory"
            ) from error
        raise
    # The file itself stays whatever happens: the lock is on it, not its being there.
    with suppress(OSError):
        files.truncate(fd, 0)
        files.write_at(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def recover(directory: Path, boot: bytes, files: Files) -> tuple[list[Segment], int, Damages]:
    """Return the segments that an agent left, oldest first, the next free number, and what was unreadable.

    No Report is added to them: a torn end is merely not read.
    """
    damages, last = Damages(), 0
    found: list[_Found] = []
    for name in files.names(directory):
        if name.endswith(".segment.new"):
            files.remove(directory / name)
    for number, path in segment_files(directory, files):
        last = number
        try:
            found.append(_read(path, boot, files, damages))
        except (records.VersionError, OSError) as error:
            # Left as it is: the version that wrote it can still send what is in it.
            _log.error("spool %s: %s; left alone", path, getattr(error, "strerror", None) or error)
            damages.places += 1
    try:
        for one in found:
            for hash_ in one.missing:
                _mend(one.file, hash_, [other.file for other in found])
        for one in found:
            if not one.segment.pending:
                _put_away(one, files)
    finally:
        for one in found:
            one.file.close()
    damaged = [name for name in files.names(directory) if name.endswith(".damaged")]
    for name in damaged[:-_MOST_DAMAGED]:
        files.remove(directory / name)
    return [one.segment for one in found if one.segment.pending], last + 1, damages


@dataclass(frozen=True, slots=True)
class _Found:
    """A segment as it was found, and the Layouts that its Reports need and it lacks."""

    file: File
    segment: Segment
    missing: set[int]


def _read(path: Path, boot: bytes, files: Files, damages: Damages) -> _Found:
    layouts: dict[int, int] = {}
    data = files.read(path)
    file = File(path, len(data), layouts, files)
    # Whoever wrote it may have died before its next sync.
    file.synced = False
    segment, wanted = Segment(file), set()
    for record, report in sound(data, layouts, path, damages):
        state = record.state
        if state is State.KEPT and report.boot != boot:
            # Power may have gone before the mark was on disk that it had been sent.
            state = State.SENT
        segment.note(record.offset, state, report)
        wanted.add(report.layout_hash)
    return _Found(file, segment, wanted - set(layouts))


def _mend(file: File, hash_: int, others: list[File]) -> None:
    """Give a segment the Layout that is damaged in it from another, which may be gone before this one."""
    for other in others:
        if (layout := other.layout(hash_)) is not None:
            with suppress(OSError):
                file.adopt(hash_, layout)
            return


def _put_away(found: _Found, files: Files) -> None:
    """Delete a segment with nothing left to send; where it never told anything, keep it to be looked at."""
    path = found.file.path
    if found.segment.states or found.file.size <= records.HEADER_BYTES:
        found.file.remove()
    else:
        files.rename(path, path.with_suffix(".damaged"))
        _log.error("spool %s: nothing in it can be read; renamed to .damaged", path)


def sound(
    data: bytes, layouts: dict[int, int], path: Path, damages: Damages
) -> Iterator[tuple[Record, report_pb2.Report]]:
    """Yield the Reports of a segment that are sound; note where its Layouts are, and what is unreadable."""
    if data and not records.has_header(data):
        damages.places += 1
        _log.warning("spool %s: its header is damaged", path)
    for found in records.scan(data):
        if isinstance(found, Damage):
            if found.last:
                _log.info("spool %s: the last %d bytes are torn and left out", path, found.length)
            elif found.offset:
                damages.places += 1
                damages.lost_bytes += found.length
                _log.warning(
                    "spool %s: %d bytes at %d are damaged; stepped over", path, found.length, found.offset
                )
        elif found.kind == Kind.LAYOUT:
            layouts[layout_hash(found.payload)] = found.offset
        elif found.kind == Kind.REPORT:
            with suppress(DecodeError):
                yield found, report_pb2.Report.FromString(found.payload)
