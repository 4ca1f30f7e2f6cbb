"""Where DuckDB takes a log for ended: behind it there must be nothing that was acknowledged.

DuckDB goes on without a word where the size of an entry reads 0, or more than the log has left, or where the
log's head cannot be read: that is what a power cut leaves of a commit that was not synced. A failing disk can
leave it too, with acknowledged commits behind, which the next commit would overwrite.
"""

from __future__ import annotations

from pathlib import Path

from joulebook.collector.store.duckdb.lock import locked, open_here
from joulebook.collector.store.duckdb.log import END, Dropped, dropped, is_read_whole
from joulebook.collector.store.protocol import StoreError

# The log, and where commits go while DuckDB writes its file through.
_LOGS = (".wal", ".checkpoint.wal")


def check(path: Path, *, read_only: bool) -> None:
    """Make sure that DuckDB reads a file's logs to their end, or leaves out what nobody was told of.

    Raises StoreError, with nothing changed, where it would leave out more.
    """
    # As DuckDB names them.
    path = path.resolve()
    logs = [log for log in (path.with_name(path.name + suffix) for suffix in _LOGS) if log.exists()]
    # Of one that is open here, and what its program writes, nothing is to be judged.
    if not logs or open_here(path):
        return
    try:
        with path.open("rb" if read_only else "r+b") as file:
            # Where somebody else has it DuckDB will say so.
            if locked(file, read_only=read_only):
                for number, log in enumerate(logs):
                    _check(path, log, logs[number + 1 :])
    except OSError as error:
        raise StoreError(
            f"store {path}: it cannot be seen whether its log {logs[0]} is whole ({error})"
        ) from error


def _check(path: Path, log: Path, later: list[Path]) -> None:
    with log.open("rb") as file:
        if is_read_whole(file):
            return
        content = file.read()
    more = any(END in one.read_bytes() for one in later)
    found = dropped(content, more=more)
    if found is not None:
        raise StoreError(_told(path, log, found, len(content), more))


def _told(path: Path, log: Path, found: Dropped, log_bytes: int, more: bool) -> str:
    what = f"the size of an entry reads {found.size}" if found.place else "its head cannot be read"
    # What came later rests on what is left out.
    give_up = (
        ""
        if more
        else f"; or keep a copy of it and give up what is behind knowingly (`truncate -s {found.whole_bytes} "
        f"'{log}'`): agents send again what they still hold"
    )
    return (
        f"store {path}: its log {log} is damaged at byte {found.place}, within what was acknowledged: "
        f"{what}, so that DuckDB would take the log for ended there and leave out {found.commits} commits in "
        f"the {log_bytes - found.place} bytes behind. No power cut does that, its disk or another program "
        f"changed what was stored. Nothing was changed now. Restore a backup (`joulebook restore`){give_up}"
    )
