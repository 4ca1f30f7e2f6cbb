"""The log beside DuckDB's file: entries of transactions, each synced as a whole before the next begins.

As DuckDB 2.0 writes it (src/storage/write_ahead_log.cpp): a head without a checksum, then entries of
[size, 8 bytes][checksum, 8 bytes][size bytes]; the last entry of a transaction is always the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_ENTRY = struct.Struct("<QQ")
# An object with field 100 of value 100 ("flush"), its size and its checksum before it.
END = _ENTRY.pack(5, 0x5E3DED2F727DFEE7) + b"\x64\x00\x64\xff\xff"
# Field 100 ("version") and field 101: 2, which is neither the old form nor an encrypted one.
_HEAD = b"\x64\x00\x62\x65\x00\x02"
_IDENTITY, _ITERATION, _HEAD_END = b"\x66\x00\x10", b"\x67\x00", b"\xff\xff"
_IDENTITY_BYTES = 16
# What reaches a disk as a whole, or not at all.
_SECTOR = 512


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
    while log[at] & 0x80:
        at += 1
    return at + 1


def _lacks_sectors(log: bytes, written: int, start: int, end: int) -> bool:
    """Say whether a sector of some bytes was never written: all of it that is not from before is zero."""
    sectors = range(start // _SECTOR * _SECTOR, end, _SECTOR)
    return any(not any(log[max(sector, written) : sector + _SECTOR]) for sector in sectors)


def _ends_before_last(log: bytes, start: int) -> bool:
    """Say whether a transaction ends behind a place, and something follows it."""
    found = log.find(END, start)
    return 0 <= found < len(log) - len(END)
