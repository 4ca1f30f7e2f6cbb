"""The log beside DuckDB's file: entries of transactions, each synced as a whole before the next begins.

As DuckDB 2.0 writes it (src/storage/write_ahead_log.cpp): a head without a checksum, then entries of
[size, 8 bytes][checksum, 8 bytes][size bytes]; the last entry of a transaction is always the same.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from joulebook.collector.store.duckdb.checksum import checksum

_ENTRY = struct.Struct("<QQ")
# An object with field 100 of value 100 ("flush"), its size and its checksum before it.
END = _ENTRY.pack(5, 0x5E3DED2F727DFEE7) + b"\x64\x00\x64\xff\xff"
# What is left of it where its size is damaged.
_ENDED = END[8:]
# Field 100 ("version") and field 101: 2, which is neither the old form nor an encrypted one.
_HEAD = b"\x64\x00\x62\x65\x00\x02"
_IDENTITY, _ITERATION, _HEAD_END = b"\x66\x00\x10", b"\x67\x00", b"\xff\xff"
_IDENTITY_BYTES = 16
# From here on a byte of a number has another one behind it.
_MORE_BYTES = 0x80
# What reaches a disk as a whole, or not at all.
_SECTOR = 512
# As much is read at once where only sizes are looked at.
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Broken:
    """Where a log cannot be read on.

    whole_bytes: how far transactions are whole. torn: what follows is one transaction, of which sectors were
    never written: what a power cut leaves of a commit that nobody was told of.
    """

    whole_bytes: int
    torn: bool


def broken(log: bytes, place: int) -> Broken | None:
    """Judge a log whose entry with its bytes at a place has a wrong checksum, and those before it have not.

    None: it is not a log of the form known here.
    """
    start = _head_bytes(log)
    if start is None:
        return None
    whole = 0
    while start + _ENTRY.size < place:
        (size, _) = _ENTRY.unpack_from(log, start)
        end = start + _ENTRY.size + size
        if end > len(log):
            return None
        if size == len(END) - _ENTRY.size and log[start:end] == END:
            whole = end
        start = end
    if start + _ENTRY.size != place or place > len(log):
        return None
    (size, _) = _ENTRY.unpack_from(log, start)
    lacks = _lacks_sectors(log, whole, start, min(place + size, len(log)))
    return Broken(whole, lacks and not _ends_before_last(log, start))


@dataclass(frozen=True, slots=True)
class Dropped:
    """Where DuckDB takes a log for ended, and behind it is what was acknowledged.

    whole_bytes: how far transactions are whole. place: of a size that cannot be; 0: of a head that cannot be.
    commits: how many transactions end behind it.
    """

    whole_bytes: int
    place: int
    size: int
    commits: int


def is_read_whole(file: BinaryIO) -> bool:
    """Say whether the sizes of a log's entries lead to its end.

    Where one is 0, or more than there is, DuckDB takes the log for ended; so where its head cannot be read.
    """
    descriptor = file.fileno()
    length = os.fstat(descriptor).st_size
    start = _head_bytes(os.pread(descriptor, _SECTOR, 0))
    if start is None:
        return not length
    piece, begin = b"", 0
    while start + _ENTRY.size <= length:
        if start + _ENTRY.size > begin + len(piece):
            piece, begin = os.pread(descriptor, _PIECE, start), start
        (size, _) = _ENTRY.unpack_from(piece, start - begin)
        if not 0 < size <= length - start - _ENTRY.size:
            return False
        start += _ENTRY.size + size
    return start == length


def dropped(log: bytes, *, more: bool) -> Dropped | None:
    """Judge a log whose entries' sizes do not lead to its end. more: transactions followed, in another log.

    None: what DuckDB leaves out is one transaction that a power cut tore, which nobody was told of; or it
    refuses the log by itself, for a wrong checksum or its version.
    """
    read = _read(log)
    if read is None:
        return None
    whole, start = read
    size = int.from_bytes(log[start : start + 8], "little")
    commits = log.count(_ENDED, start)
    # A size of which some is lost is too small, and its checksum wrong, or 0.
    lost = (not start or not size) and _lacks_sectors(log, whole, start, start + 8)
    torn = not commits or (lost and not _ends_before_last(log, start))
    nobodys = not any(log[start:]) if more else torn
    return None if nobodys else Dropped(whole, start, size, commits)


def _read(log: bytes) -> tuple[int, int] | None:
    """Return how far transactions, and entries, are whole; None where DuckDB refuses a log by itself."""
    start = _head_bytes(log)
    if start is None:
        version = log[len(_HEAD) - 1 : len(_HEAD)]
        other = log.startswith(_HEAD[:-1]) and version not in {b"", _HEAD[-1:]} and version[0] < _MORE_BYTES
        return None if other else (0, 0)
    whole = 0
    while start + _ENTRY.size <= len(log):
        (size, its) = _ENTRY.unpack_from(log, start)
        end = start + _ENTRY.size + size
        if not size or end > len(log):
            break
        if checksum(log[start + _ENTRY.size : end]) != its:
            return None
        if log[start:end] == END:
            whole = end
        start = end
    return whole, start


def _head_bytes(log: bytes) -> int | None:
    at = len(_HEAD)
    if log[:at] != _HEAD:
        return None
    try:
        if log.startswith(_IDENTITY, at):
            at += len(_IDENTITY)
            for _ in range(_IDENTITY_BYTES):
                at = _past_number(log, at)
        if log.startswith(_ITERATION, at):
            at = _past_number(log, at + len(_ITERATION))
    except IndexError:
        return None
    return at + len(_HEAD_END) if log.startswith(_HEAD_END, at) else None


def _past_number(log: bytes, at: int) -> int:
    while log[at] >= _MORE_BYTES:
        at += 1
    return at + 1


def _lacks_sectors(log: bytes, written: int, start: int, end: int) -> bool:
    """Say whether a sector of some bytes was never written: all of it that is not from before is zero."""
    sectors = range(start // _SECTOR * _SECTOR, end, _SECTOR)
    return any(not any(log[max(sector, written) : sector + _SECTOR]) for sector in sectors)


def _ends_before_last(log: bytes, start: int) -> bool:
    """Say whether a transaction ends behind a place, and something follows it."""
    found = log.find(_ENDED, start)
    return 0 <= found < len(log) - len(_ENDED)
