"""Bring a file's tables to this program's version: a backup first, then all steps in one transaction."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path

import duckdb

from joulebook.collector.backup.manifest import Manifest, described, write
from joulebook.collector.store.duckdb.copy import copy_store
from joulebook.collector.store.duckdb.migrations.steps import Step, released
from joulebook.collector.store.protocol import NoRoomError, StoreError

_log = logging.getLogger(__name__)

# A copy of the file, and as much again for what the steps write before what they replace is given back.
_ROOM = 2
# Kept free besides, for the log of the first commits.
_SPARE_BYTES = 64 << 20
_SAMPLE_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with a file, how much room that takes, how much there is, and about how long."""

    found: int
    steps: Sequence[Step]
    needed_bytes: int
    free_bytes: int
    about_s: float

    @property
    def newest(self) -> int:
        """Return the version that the file will be of."""
        return self.steps[-1].version if self.steps else self.found


def prepare(
    connection: duckdb.DuckDBPyConnection,
    path: Path | str,
    steps: Sequence[Step] | None = None,
    *,
    backed_up: bool = False,
) -> Path | None:
    """Make the tables of a new file, or bring those of an old one up; return where its backup is.

    backed_up: the file is a copy already, and needs no other.

    Raises StoreError, with the file as it was, where it is of a newer program or none of ours, where there is
    no room, and where a step fails.
    """
    steps = released() if steps is None else steps
    found = version_of(connection, path, steps)
    ahead = steps[found:]
    if not ahead:
        return None
    backup = None
    if found and not backed_up:
        _check_room(path, plan(connection, path, steps, timed=False))
        backup = _back_up(connection, Path(path), found)
        _log.info(
            "store %s: tables of version %d become version %d; a backup is in %s",
            path,
            found,
            ahead[-1].version,
            backup,
        )
    try:
        _apply(connection, Path(path), ahead)
    except Exception as error:
        # The file is as it was, so what was copied is not needed; a service that is started again and again
        # would fill the disk with it.
        if backup is not None:
            shutil.rmtree(backup, ignore_errors=True)
        if not isinstance(error, (duckdb.Error, OSError, StoreError)):
            raise
        if "No space left on device" in str(error):
            raise NoRoomError(f"store {path}: no room on its disk for its tables ({error})") from error
        raise StoreError(
            f"store {path}: its tables of version {found} could not be brought to version "
            f"{ahead[-1].version} ({str(error).splitlines()[0]}); the file is as it was: "
            "run the joulebook that made it, and report this"
        ) from error
    return backup


def version_of(connection: duckdb.DuckDBPyConnection, path: Path | str, steps: Sequence[Step]) -> int:
    """Return the version of a file's tables, 0 for a new file. Raises StoreError where it is not known."""
    tables = (
        "SELECT table_name FROM duckdb_tables() WHERE NOT internal AND database_name = current_database()"
    )
    made = {name for (name,) in connection.execute(tables).fetchall()}
    if not made:
        return 0
    if "schema_version" not in made:
        raise StoreError(f"store {path}: a DuckDB file, but none of joulebook's; name another file")
    versions = connection.execute("SELECT version FROM schema_version").fetchall()
    if len(versions) != 1 or versions[0][0] < 1:
        raise StoreError(f"store {path}: schema_version holds {versions}, expected one number from 1 on")
    version = int(versions[0][0])
    newest = len(steps)
    if version > newest:
        raise StoreError(
            f"store {path}: its tables are of version {version}, this joulebook knows them up to {newest}; "
            "run the newer joulebook that wrote it, or restore the backup that was made before"
        )
    return version


def plan(
    connection: duckdb.DuckDBPyConnection,
    path: Path | str,
    steps: Sequence[Step] | None = None,
    *,
    timed: bool = True,
) -> Plan:
    """Return what prepare() would do. timed: measure, on some of the rows, how long it will take."""
    steps = released() if steps is None else steps
    found = version_of(connection, path, steps)
    if not found or found == len(steps):
        return Plan(found, steps[found:], 0, 0, 0.0)
    place = Path(path)
    held = sum(p.stat().st_size for p in (place, Path(f"{place}.wal")) if p.exists())
    needed = _ROOM * held + _SPARE_BYTES
    free = shutil.disk_usage(place.parent).free
    about_s = _measured_s(connection, place) if timed else 0.0
    return Plan(found, steps[found:], needed, free, about_s)


def _measured_s(connection: duckdb.DuckDBPyConnection, path: Path) -> float:
    """Copy some rows of the largest table to a file beside it; all rows, twice, will take as much more."""
    rows = connection.execute(
        "SELECT table_name, estimated_size FROM duckdb_tables() WHERE NOT internal "
        "AND database_name = current_database() ORDER BY estimated_size DESC LIMIT 1"
    ).fetchone()
    if rows is None or not rows[1]:
        return 0.0
    trial = path.with_name(f"{path.name}.trial")
    trial.unlink(missing_ok=True)
    began = time.monotonic()
    quoted = str(trial).replace("'", "''")
    try:
        connection.execute(f"ATTACH '{quoted}' AS trial")
        connection.execute(f'CREATE TABLE trial.t AS SELECT * FROM "{rows[0]}" LIMIT {_SAMPLE_ROWS}')
        connection.execute("DETACH trial")
        took_s = time.monotonic() - began
    finally:
        for left in (trial, Path(f"{trial}.wal")):
            left.unlink(missing_ok=True)
    return took_s * max(int(rows[1]) / _SAMPLE_ROWS, 1.0) * 2


def _check_room(path: Path | str, planned: Plan) -> None:
    if planned.free_bytes < planned.needed_bytes:
        raise NoRoomError(
            f"store {path}: its tables of version {planned.found} are to become version {planned.newest}, "
            f"which takes {planned.needed_bytes >> 20} MiB beside it, and {planned.free_bytes >> 20} MiB "
            "are free; make room, or move the store to a larger disk"
        )


def _back_up(connection: duckdb.DuckDBPyConnection, path: Path, version: int) -> Path:
    """Copy a file of a version, and what belongs to it, into a directory beside it."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    backup = path.with_name(f"{path.name}.version-{version}.{stamp}")
    partial = path.with_name(f"{path.name}.version-{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(mode=0o700)
        copy_store(connection, path, partial)
        manifest = Manifest(
            joulebook=package_version("joulebook"),
            made_unix_us=time.time_ns() // 1000,
            schema_version=version,
            files=described(partial),
        )
        write(manifest, partial)
        partial.rename(backup)
    except (duckdb.Error, OSError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StoreError(
            f"store {path}: no backup could be made before its tables are changed ({error}); "
            "the file is as it was"
        ) from error
    return backup


def _apply(connection: duckdb.DuckDBPyConnection, path: Path, steps: Sequence[Step]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            for step in steps:
                step.apply(cursor, path)
            if steps[0].version == 1:
                cursor.execute("CREATE TABLE schema_version (version INTEGER)")
                cursor.execute("INSERT INTO schema_version VALUES (?)", [steps[-1].version])
            else:
                cursor.execute("UPDATE schema_version SET version = ?", [steps[-1].version])
            cursor.execute("COMMIT")
        except BaseException:
            _roll_back(cursor)
            raise


def _roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    try:
        cursor.execute("ROLLBACK")
    except duckdb.TransactionException:
        # A failed COMMIT has rolled back by itself.
        return
