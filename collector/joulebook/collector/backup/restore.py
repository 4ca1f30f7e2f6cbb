"""Restore a backup: beside the place first, its books verified there, and only then into the place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from joulebook.collector.backup.files import ALERTS
from joulebook.collector.backup.manifest import BackupError, Manifest, digest, read, sync_directory, verify
from joulebook.collector.backup.take import booked, marks
from joulebook.collector.check.books import embedded
from joulebook.collector.store.duckdb.copy import FILE
from joulebook.collector.store.duckdb.doublewrite import note_of
from joulebook.collector.store.duckdb.file import opened, read_only
from joulebook.collector.store.duckdb.files import Files
from joulebook.collector.store.duckdb.migrations import migration
from joulebook.collector.store.duckdb.migrations.steps import released
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.duckdb.rewind import rewind
from joulebook.collector.store.protocol import StoreError


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: of which version, what the accounts have, and how many Reports were left out."""

    manifest: Manifest
    booked_uj: int
    left_out: int


def restore(
    source: Path, store: Path, beside: Mapping[str, str], *, at_unix_us: int | None = None
) -> Restored:
    """Put a backup where nothing is, once its checksums and its books are verified. Raises BackupError.

    beside names where the SQLite files of a collector belong, by what they are called in the backup.
    at_unix_us: leave out what was committed with Reports that ended later; alerts then begin anew.
    """
    manifest = read(source)
    if manifest.schema_version > len(released()):
        raise BackupError(
            f"backup {source}: its tables are of version {manifest.schema_version}, this joulebook knows "
            f"them up to {len(released())}; restore it with joulebook {manifest.joulebook} or newer"
        )
    places = {FILE: store, **{name: Path(path) for name, path in beside.items() if path != ":memory:"}}
    blocks = Files(store).directory
    for place in (*places.values(), Path(f"{store}.wal"), note_of(store), blocks):
        if place.exists():
            raise BackupError(f"{place}: is there already; move it away, or restore elsewhere with --to")
    room = shutil.disk_usage(store.parent).free
    if room < manifest.total_bytes:
        raise BackupError(
            f"backup {source}: takes {manifest.total_bytes >> 20} MiB, and {room >> 20} MiB are free at "
            f"{store.parent}; make room, or restore elsewhere with --to"
        )
    verify(manifest, source)
    with _aside(store) as aside:
        for file in manifest.files:
            copy = aside / file.name
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(source / file.name, copy)
        verify(manifest, aside)
        if at_unix_us is not None:
            (aside / ALERTS).unlink(missing_ok=True)
        try:
            restored = _prepared(manifest, aside / FILE, at_unix_us)
        except (duckdb.Error, StoreError) as error:
            raise BackupError(f"backup {source}: not restored ({error})") from error
        if Path(f"{aside / FILE}.wal").exists():
            raise BackupError(f"backup {source}: not restored (the copy's log was not written into it)")
        copied = Files(aside / FILE).directory
        for path in copied.rglob("*.parquet"):
            digest(path, durable=True)
        if copied.exists():
            copied.rename(blocks)
        # The store comes last: before it is there, nothing is.
        for name, place in reversed(places.items()):
            if (aside / name).exists():
                digest(aside / name, durable=True)
                (aside / name).rename(place)
        sync_directory(store.parent)
    return restored


@contextmanager
def _aside(store: Path) -> Iterator[Path]:
    """Make a directory beside a store, and take it away in the end."""
    aside = store.with_name(f"{store.name}.restoring")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(mode=0o700)
        yield aside
    except OSError as error:
        raise BackupError(f"store {store}: not restored ({error})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _prepared(manifest: Manifest, file: Path, at_unix_us: int | None) -> Restored:
    """Bring a copy to this version and to a time, and check its books."""
    with opened(file) as connection:
        migration.prepare(connection, file, backed_up=True)
    left_out = 0 if at_unix_us is None else rewind(str(file), at_unix_us)
    with read_only(file) as connection:
        view = Reads(connection, Files(file))
        if found := embedded(view):
            first = found[0]
            raise StoreError(
                f"{len(found)} things are wrong with its books, the first: {first.check} of {first.node} on "
                f"{first.at}: {first.found}, expected {first.expected}"
            )
        by_node = booked(view)
        if not left_out and manifest.newest:
            if by_node != manifest.booked_uj:
                raise StoreError(f"its accounts have {by_node} µJ, expected {manifest.booked_uj}")
            if marks(view) != manifest.newest:
                raise StoreError("its newest Reports are not those of its manifest")
    return Restored(manifest, sum(by_node.values()), left_out)
