"""What a power cut leaves of a commit that was not synced: sectors of the log that were never written.

DuckDB goes on without a transaction that the log ends within, and refuses a file whose last transaction lacks
something in the middle, though nobody was told that it is stored. There is never more than one such: the
store has one writer, and a commit is synced before the next begins.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import logging
import os
import re
import shutil
import time
from pathlib import Path

from joulebook.collector.store.duckdb.files import sync
from joulebook.collector.store.duckdb.log import END, Broken, broken
from joulebook.collector.store.protocol import NoRoomError, StoreError

_log = logging.getLogger(__name__)

_WRONG = re.compile(
    r'Failure while replaying WAL file "(?P<log>.+)": Corrupt WAL file: '
    r"entry at byte position (?P<place>\d+) computed checksum",
    re.DOTALL,
)
# Where commits go while DuckDB writes its file through.
_MEANWHILE = ".checkpoint.wal"
_KEPT = 3


def mend(path: Path | str, error: Exception, *, read_only: bool) -> bool:
    """Cut off the transaction that a power cut tore, if that is why DuckDB refuses a file; say whether it is.

    The log as it was is kept beside the new one. Raises StoreError where acknowledged commits are damaged,
    where the file is opened only to be read, or where the log could not be replaced; it is as it was then.
    """
    wrong = _WRONG.search(str(error))
    if wrong is None:
        return False
    log, place = Path(wrong["log"]), int(wrong["place"])
    try:
        # As DuckDB locks it, so that no other program has it open meanwhile.
        with Path(path).open("rb" if read_only else "r+b") as file:
            fcntl.lockf(file, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            content = log.read_bytes()
            found = broken(content, place)
            if found is None:
                return False
            _refuse(path, log, place, found, len(content), read_only)
            kept = _replaced(log, content[: found.whole_bytes])
    except BlockingIOError:
        return False
    except OSError as failed:
        kind = NoRoomError if failed.errno in {errno.ENOSPC, errno.EDQUOT} else StoreError
        raise kind(f"store {path}: its log {log} is torn, and could not be mended ({failed})") from error
    _log.warning(
        "store %s: a power cut tore the last commit in its log, which nobody was told is stored: %d bytes "
        "are cut off at byte %d, and agents send its Reports again. The log as it was is kept as %s",
        path,
        len(content) - found.whole_bytes,
        found.whole_bytes,
        kept,
    )
    return True


def _refuse(path: Path | str, log: Path, place: int, found: Broken, log_bytes: int, read_only: bool) -> None:
    """Raise StoreError where a log is not to be cut."""
    if not found.torn or _committed_meanwhile(log):
        raise StoreError(
            f"store {path}: its log {log} is damaged at byte {place}, within what was acknowledged: no power "
            "cut does that, its disk or another program changed what was stored. Nothing was changed now. "
            f"Restore a backup (`joulebook restore`), or move {log} away knowingly: the store then lacks "
            "every commit since its file was last written through, and agents send again what they still hold"
        )
    if read_only:
        raise StoreError(
            f"store {path}: a power cut tore the last commit in its log {log}, "
            f"{log_bytes - found.whole_bytes} bytes which nobody was told are stored. Here it is only read: "
            "start its collector, or say `joulebook store migrate`, which mends it, and try again"
        )


def _committed_meanwhile(log: Path) -> bool:
    """Say whether there are commits that came after those of this log."""
    if log.name.endswith(_MEANWHILE):
        return False
    later = log.with_name(log.name.removesuffix(".wal") + _MEANWHILE)
    return later.exists() and END in later.read_bytes()


def _replaced(log: Path, content: bytes) -> Path:
    """Put other content in a log's place, durably, all or nothing; return what the old one is called then."""
    was = log.stat()
    fresh = log.with_name(f"{log.name}.unfinished")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), was.st_mode & 0o777)
            if os.geteuid() == 0:
                # The collector that comes next may be another user.
                os.fchown(file.fileno(), was.st_uid, was.st_gid)
            os.fsync(file.fileno())
        kept = _kept(log)
        sync(log.parent)
        fresh.replace(log)
    finally:
        fresh.unlink(missing_ok=True)
    sync(log.parent)
    for old in sorted(log.parent.glob(f"{glob.escape(log.name)}.torn-*"))[:-_KEPT]:
        old.unlink(missing_ok=True)
    return kept


def _kept(log: Path) -> Path:
    """Give a log another name besides, or make a copy where a file has but one; return it."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept, more = log.with_name(f"{log.name}.torn-{now}"), 1
    while kept.exists():
        kept, more = log.with_name(f"{log.name}.torn-{now}-{more}"), more + 1
    try:
        os.link(log, kept)
    except OSError:
        # Not every file system gives a file two names.
        shutil.copyfile(log, kept)
    sync(kept)
    return kept
