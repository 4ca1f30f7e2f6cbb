"""What a checkpoint may overwrite of an embedded store's file, noted beside it until it is durable.

DuckDB keeps its metadata in pieces of 4 KiB, many to a block. A checkpoint fills free pieces of blocks that
the durable header still needs and writes those blocks whole, in place, before the new header: a power cut
between leaves a block whose checksum is wrong, and DuckDB no longer opens the file. So these blocks and the
headers are noted in a file of their own first, as InnoDB's double-write buffer has its pages, and put back by
the next one to open the store where the new header did not become durable. Data blocks need none of it:
DuckDB writes them to places that the durable header counts as free.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from joulebook.collector.store.duckdb.checksum import checksum
from joulebook.collector.store.duckdb.files import sync
from joulebook.collector.store.duckdb.lock import descriptor_of, locked, open_here
from joulebook.collector.store.protocol import StoreError

_log = logging.getLogger(__name__)

# A file begins with what it is and two headers, of which the one with the higher number counts.
_HEADER = 4096
_HEADERS = 3 * _HEADER
# Of a header: its checksum, its number, where metadata and free list are, how many blocks, their size.
_FIELDS = struct.Struct("<6Q")
# Of a note: what it is, the blocks' size, and how many; their numbers, the headers and the blocks follow.
_NOTE = struct.Struct("<24sQQ")
_IS_NOTE = b"joulebook doublewrite 1\n"
_DIGEST = 32


def note_of(path: Path | str) -> Path:
    """Return where the note of a file is: beside the file itself, whatever link leads to it."""
    return Path(f"{Path(path).resolve()}.doublewrite")


def write(path: Path, blocks: Sequence[int]) -> None:
    """Note a file's headers and some of its blocks, durably. The program has the file open in DuckDB.

    Raises OSError with no note left.
    """
    note = note_of(path)
    try:
        # Not opened: a program that closes a file gives up all locks that it has on it, DuckDB's too.
        source = descriptor_of(path)
        with note.open("wb") as file:
            _own_like(file, path)
            headers = os.pread(source, _HEADERS, 0)
            size = _FIELDS.unpack_from(headers, _HEADER)[5]
            # A block that is in no checkpoint yet may lie behind the file's end.
            there = [b for b in blocks if _HEADERS + (b + 1) * size <= os.fstat(source).st_size]
            digest = hashlib.blake2b(digest_size=_DIGEST)
            for part in _parts(source, headers, size, there):
                digest.update(part)
                file.write(part)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        sync(note.parent)
    except OSError:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Remove a file's note, which is of no use any more."""
    note_of(path).unlink(missing_ok=True)


def mend(path: Path, *, read_only: bool = False) -> None:
    """Put back what a checkpoint overwrote that did not become durable. Nobody may have the file open.

    Raises StoreError where there is something to put back and the file is only to be read, or it fails.
    """
    note = note_of(path)
    if not note.exists():
        return
    try:
        # Where it is open its checkpoint may be under way: DuckDB will say that it is in use.
        if open_here(path):
            return
        with path.open("rb" if read_only else "r+b", buffering=0) as file:
            if not locked(file, read_only=read_only):
                return
            with note.open("rb") as noted:
                needed = _is_whole(noted) and _overwrites(noted, file)
                if needed and read_only:
                    raise StoreError(
                        f"store {path}: its last checkpoint was cut short, what it overwrote is in {note}; "
                        "start the collector, or say `joulebook store migrate`, which puts it back"
                    )
                if needed:
                    _put_back(noted, file)
                    _log.warning("store %s: put back what a checkpoint overwrote that was cut short", path)
            if not read_only:
                note.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"store {path}: its last checkpoint was cut short, and what it overwrote could not be put back "
            f"from {note} ({error}); mend that, and keep both files together until then"
        ) from error


def _parts(source: int, headers: bytes, size: int, blocks: Sequence[int]) -> Iterator[bytes]:
    yield _NOTE.pack(_IS_NOTE, size, len(blocks))
    yield struct.pack(f"<{len(blocks)}Q", *blocks)
    yield headers
    for block in blocks:
        yield os.pread(source, size, _HEADERS + block * size)


def _is_whole(noted: BinaryIO) -> bool:
    """Say whether a note was written to its end; before that, no checkpoint has begun."""
    left = os.fstat(noted.fileno()).st_size - _DIGEST
    if left < _NOTE.size + _HEADERS:
        return False
    digest = hashlib.blake2b(digest_size=_DIGEST)
    noted.seek(0)
    while left:
        part = noted.read(min(left, 1 << 20))
        digest.update(part)
        left -= len(part)
    noted.seek(0)
    return digest.digest() == _digest_of(noted) and noted.read(len(_IS_NOTE)) == _IS_NOTE


def _digest_of(noted: BinaryIO) -> bytes:
    """Return the checksum at a note's end, and go to its begin."""
    noted.seek(-_DIGEST, os.SEEK_END)
    found = noted.read(_DIGEST)
    noted.seek(0)
    return found


def _overwrites(noted: BinaryIO, file: BinaryIO) -> bool:
    """Say whether a file is the noted one, and no header is durable but those that were noted."""
    was, now = _headers(noted), os.pread(file.fileno(), _HEADERS, 0)
    if len(now) != _HEADERS or was[:_HEADER] != now[:_HEADER]:
        return False
    changed = [
        at
        for at in (_HEADER, 2 * _HEADER)
        if was[at : at + _HEADER] != now[at : at + _HEADER] and _is_sound(now[at : at + _HEADER])
    ]
    return not changed


def _headers(noted: BinaryIO) -> bytes:
    noted.seek(0)
    _, _, count = _NOTE.unpack(noted.read(_NOTE.size))
    noted.seek(8 * count, os.SEEK_CUR)
    return noted.read(_HEADERS)


def _is_sound(header: bytes) -> bool:
    """Say whether a header's checksum is right."""
    return checksum(header[8:]) == int.from_bytes(header[:8], "little")


def _put_back(noted: BinaryIO, file: BinaryIO) -> None:
    """Write what was noted to its places, durably; the header that counts comes last of all."""
    noted.seek(0)
    _, size, count = _NOTE.unpack(noted.read(_NOTE.size))
    blocks = struct.unpack(f"<{count}Q", noted.read(8 * count))
    headers = noted.read(_HEADERS)
    for block in blocks:
        _write(file.fileno(), noted.read(size), _HEADERS + block * size)
    os.fsync(file.fileno())
    _write(file.fileno(), headers, 0)
    os.fsync(file.fileno())


def _write(descriptor: int, data: bytes, place: int) -> None:
    while data:
        done = os.pwrite(descriptor, data, place)
        data, place = data[done:], place + done


def _own_like(file: BinaryIO, path: Path) -> None:
    """Let whoever may open a store's file open its note."""
    own = path.stat()
    os.fchmod(file.fileno(), own.st_mode & 0o777)
    if os.geteuid() == 0:
        os.fchown(file.fileno(), own.st_uid, own.st_gid)
