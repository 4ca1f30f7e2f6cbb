"""What a backup says of itself: its files with their checksums, and what its books must come to."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

FORMAT = 1
NAME = "manifest.json"


class BackupError(Exception):
    """A backup that cannot be taken or restored: what is wrong, and what to do."""


class BackedUpFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a backup, by its place below the backup's directory."""

    name: str
    bytes: int
    sha256: str


class Newest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest sequence mark of a node's boot: where that Report ends, by boot clock and wall clock."""

    node: str
    boot: str
    end_us: int
    end_unix_us: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A backup's own description. booked_uj is what the accounts of each node have received in all."""

    format: int = FORMAT
    joulebook: str
    made_unix_us: int
    schema_version: int
    files: list[BackedUpFile]
    newest: list[Newest] = []
    booked_uj: dict[str, int] = {}

    @property
    def total_bytes(self) -> int:
        """Return how much the files hold together."""
        return sum(file.bytes for file in self.files)


def described(directory: Path) -> list[BackedUpFile]:
    """Return every file below a directory, made durable."""
    found = []
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        size, sha256 = digest(path, durable=True)
        found.append(BackedUpFile(str(path.relative_to(directory)), size, sha256))
    return found


def digest(path: Path, *, durable: bool = False) -> tuple[int, str]:
    """Return a file's size and SHA-256; durable: it is on the disk then."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256")
        if durable:
            os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size, found.hexdigest()


def write(manifest: Manifest, directory: Path) -> None:
    """Write a manifest as the last of a backup's files."""
    with (directory / NAME).open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        file.flush()
        os.fsync(file.fileno())
    sync_directory(directory)


def read(directory: Path) -> Manifest:
    """Return a backup's manifest. Raises BackupError."""
    path = directory / NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise BackupError(
            f"backup {directory}: no {NAME} ({error.strerror}); expected a backup's directory"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BackupError(
            f"backup {directory}: {NAME}: {error}; expected what `joulebook backup` writes"
        ) from error
    if found.format != FORMAT:
        raise BackupError(
            f"backup {directory}: of format {found.format}, expected {FORMAT}; use the joulebook that made it"
        )
    for file in found.files:
        place = Path(file.name)
        if place.is_absolute() or ".." in place.parts or not file.name.isprintable():
            raise BackupError(f"backup {directory}: file {file.name!r}: expected a name below the directory")
    return found


def verify(manifest: Manifest, directory: Path) -> None:
    """Compare every file with its checksum. Raises BackupError, naming the first that differs."""
    for file in manifest.files:
        try:
            size, sha256 = digest(directory / file.name)
        except OSError as error:
            raise BackupError(
                f"backup {directory}: {file.name}: {error.strerror}; the backup is not whole"
            ) from error
        if size != file.bytes or sha256 != file.sha256:
            raise BackupError(
                f"backup {directory}: {file.name} of {size} bytes has the SHA-256 {sha256}, "
                f"expected {file.bytes} bytes and {file.sha256}; it is damaged: use another backup"
            )


def sync_directory(directory: Path) -> None:
    """Make durable which names a directory has."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
