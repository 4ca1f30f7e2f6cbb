"""Files of blocks that are not what was written: told by name, whatever it is that reading one comes to.

A question takes a file as it is, since to add its checksum up may take longer than the answer. Where reading
fails, checksums say which file it is; the check compares all of them, and so tells of a bit that no question
stumbles over.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from joulebook.collector.check.finding import Finding, day
from joulebook.collector.store.duckdb.files import HOUR_US, MINUTES
from joulebook.collector.store.protocol import StoreError

if TYPE_CHECKING:
    from joulebook.collector.store.duckdb.connected import Connected

# A file's size and SHA-256.
Digest = tuple[int, bytes]
# What reading a file of other bytes comes to, in DuckDB, in Arrow, and in what takes their columns apart.
GARBLED = (
    *(duckdb.Error, pa.ArrowException, OSError, MemoryError),
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError),
)
_REMEDY = (
    "put the same file of a backup in its place; see `A file of readings is damaged` in docs/operating.md"
)
# So many files are read whole at a question to find the one that is damaged.
_MOST = 24
_NAMED = re.compile(r"'((?:[^']|'')+\.parquet)'")


class DamagedFileError(StoreError):
    """A block's file is not there or not what was written; what is asked of its hour cannot be answered."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"store: file {path} is damaged ({why}); {_REMEDY}")


def digest(path: Path) -> Digest:
    """Return a file's size and SHA-256. Raises OSError."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").digest()
        return file.tell(), found


def named_in(query: str) -> list[Path]:
    """Return the files of blocks that a question names."""
    return [Path(name.replace("''", "'")) for name in _NAMED.findall(query)]


@contextmanager
def reading(view: Connected, paths: Sequence[Path]) -> Iterator[None]:
    """Tell what cannot be read of some files of a store. Raises DamagedFileError."""
    try:
        yield
    except GARBLED as error:
        _tell(paths, noted(view), error)
        raise


def noted(view: Connected) -> dict[Path, Digest]:
    """Return what was written into each file that a store vouches for."""
    # The question that failed may have ended its transaction.
    with view._connection.cursor() as cursor:
        rows = cursor.execute(
            "SELECT kind, block_id, hour, bytes, sha256 FROM block_files JOIN blocks USING (block_id) "
            "WHERE CASE kind WHEN $1 THEN has_minutes ELSE has_raw END ORDER BY hour, block_id, kind",
            [MINUTES],
        ).fetchall()
    assert view.files is not None
    return {
        view.files.path(kind, block, hour): (size, bytes(sha256)) for kind, block, hour, size, sha256 in rows
    }


def wrong_files(view: Connected) -> Iterator[Finding]:
    """Give every file that is not what was written."""
    if view.files is None:
        return
    hours = {
        view.files.path(kind, block, hour): hour
        for kind, block, hour in view._rows(
            "SELECT kind, block_id, hour FROM block_files JOIN blocks USING (block_id)"
        )
    }
    for path, was in noted(view).items():
        if why := _differs(path, was):
            yield Finding(
                "file", "", day(hours[path] * HOUR_US), f"{path}: {why}", f"what was written: {_REMEDY}"
            )


def _tell(paths: Sequence[Path], were: Mapping[Path, Digest], error: Exception) -> None:
    """Raise DamagedFileError for the first file that is damaged; none where all are what was written."""
    for path in paths:
        if why := _unreadable(path):
            raise DamagedFileError(path, why) from error
    for path in paths[:_MOST]:
        if path in were and (why := _differs(path, were[path])):
            raise DamagedFileError(path, why) from error
    if len(paths) > _MOST:
        said = " ".join(str(error).split())[:200]
        raise StoreError(
            f"store: one of {len(paths)} files from {paths[0]} to {paths[-1]} cannot be read ({said}); "
            "`joulebook store check` names it"
        ) from error


def _unreadable(path: Path) -> str:
    """Return why what a file says of itself cannot be read; '' where it can."""
    try:
        pq.read_metadata(path)
    except GARBLED as error:
        return " ".join(str(error).split())[:200] or type(error).__name__
    return ""


def _differs(path: Path, was: Digest) -> str:
    """Return in what a file differs from what was written; '' where it does not."""
    try:
        size, sha256 = digest(path)
    except OSError as error:
        return error.strerror or type(error).__name__
    if size != was[0]:
        return f"{size} bytes, {was[0]} were written"
    return "" if sha256 == was[1] else f"its SHA-256 is {sha256.hex()}, {was[1].hex()} was written"
