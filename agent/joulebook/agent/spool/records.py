"""The bytes of a segment: a header, then records, each of which can be told sound by itself.

A record is a mark to search for, length, kind, state and checksum, then the payload. The checksum is
BLAKE2b-64: joules are booked on its word, and after damage every mark is tried as the beginning of a record,
so chance has many tries. For a Report it takes half a microsecond longer than CRC-32.

The state is not in the checksum, since it is written over in place. Its words derive from the checksum: no
stray bit makes a Report look delivered or never sent.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b

VERSION = 1
MAX_PAYLOAD_BYTES = 1 << 23

_MAGIC = b"joulebook spool\n"
_HEADER = struct.Struct("<16sI4x8s")
HEADER_BYTES = _HEADER.size

# 0xA7 is no UTF-8 by itself, so no name in a payload holds the mark.
_MARK = b"\xa7jb\xa7"
_RECORD = struct.Struct("<4sIII8s")
RECORD_BYTES = _RECORD.size
STATE_OFFSET = 12
_STATE = struct.Struct("<I")


class Kind(IntEnum):
    """What a payload is."""

    LAYOUT = 1
    REPORT = 2


class State(IntEnum):
    """What is known of a Report: never sent; sent, so that it may have been received; done with."""

    KEPT = 0
    SENT = 1
    DONE = 2


_SALT = {State.SENT: 0x53454E54, State.DONE: 0x444F4E45}


class VersionError(Exception):
    """A segment of another format version."""


@dataclass(frozen=True, slots=True)
class Record:
    """A sound record: where it begins in its segment, and what it holds."""

    offset: int
    kind: int
    state: State
    payload: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no sound record; last: nothing sound comes after them."""

    offset: int
    length: int
    last: bool


def header() -> bytes:
    """Return the beginning of a segment."""
    fields = _MAGIC + _STATE.pack(VERSION)
    return _HEADER.pack(_MAGIC, VERSION, blake2b(fields, digest_size=8).digest())


def has_header(data: bytes) -> bool:
    """Return whether a segment begins as it should. Raises VersionError where it is of another version."""
    if len(data) < HEADER_BYTES:
        return False
    magic, version, checksum = _HEADER.unpack_from(data)
    fields = magic + _STATE.pack(version)
    if magic != _MAGIC or checksum != blake2b(fields, digest_size=8).digest():
        return False
    if version != VERSION:
        raise VersionError(f"format {version}, expected {VERSION}: written by another version of joulebook")
    return True


def _checksum(kind: int, payload: bytes) -> bytes:
    # The length is part of it by itself: BLAKE2b tells a text from its prefix.
    return blake2b(payload, digest_size=8, salt=kind.to_bytes(4, "little")).digest()


def state_word(state: State, checksum: bytes) -> bytes:
    """Return the four bytes that say a record's state."""
    if state is State.KEPT:
        return bytes(4)
    # Never 0, which is KEPT.
    return _STATE.pack((_STATE.unpack_from(checksum)[0] ^ _SALT[state]) or 1)


def encode(kind: Kind, payload: bytes, state: State = State.KEPT) -> bytes:
    """Return a record."""
    checksum = _checksum(kind, payload)
    word = _STATE.unpack(state_word(state, checksum))[0]
    return _RECORD.pack(_MARK, len(payload), kind, word, checksum) + payload


def payload_bytes(head: bytes) -> int:
    """Return how long the payload is that follows a record's first RECORD_BYTES; 0 where they are damaged."""
    if len(head) < RECORD_BYTES:
        return 0
    mark, length, *_ = _RECORD.unpack_from(head)
    return length if mark == _MARK and length <= MAX_PAYLOAD_BYTES else 0


def checksum_of(head: bytes) -> bytes:
    """Return the checksum that a record's first RECORD_BYTES tell."""
    checksum: bytes = _RECORD.unpack_from(head)[4]
    return checksum


def decode(data: bytes, at: int = 0, offset: int = 0) -> Record | None:
    """Return the record that begins at a place of some bytes, None where no sound one does.

    offset is where the bytes themselves begin in their segment.
    """
    if len(data) - at < RECORD_BYTES:
        return None
    mark, length, kind, word, checksum = _RECORD.unpack_from(data, at)
    begin = at + RECORD_BYTES
    if mark != _MARK or length > min(MAX_PAYLOAD_BYTES, len(data) - begin):
        return None
    payload = bytes(data[begin : begin + length])
    if kind > max(Kind) or checksum != _checksum(kind, payload):
        return None
    state = State.SENT
    if word == 0:
        state = State.KEPT
    elif _STATE.pack(word) == state_word(State.DONE, checksum):
        state = State.DONE
    return Record(offset + at, kind, state, payload)


def scan(data: bytes) -> Iterator[Record | Damage]:
    """Go through a segment; what is damaged is stepped over up to the next sound record."""
    at = HEADER_BYTES if data.startswith(_MAGIC) else 0
    while at < len(data):
        record = decode(data, at)
        if record is None:
            bad = at
            record = _next_sound(data, at + 1)
            at = len(data) if record is None else record.offset
            yield Damage(bad, at - bad, record is None)
            if record is None:
                return
        yield record
        at += RECORD_BYTES + len(record.payload)


def _next_sound(data: bytes, at: int) -> Record | None:
    while (at := data.find(_MARK, at)) >= 0:
        if (record := decode(data, at)) is not None:
            return record
        at += 1
    return None
