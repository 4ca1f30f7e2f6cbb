"""What a power cut leaves of a DuckDB file that is being written: any sectors of what was not synced."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.crashes.torn import SECTOR, torn

LOG, NOTE = ".wal", ".doublewrite"
# The file itself, its log, and the note of a checkpoint.
SUFFIXES = ("", LOG, NOTE)
_HEADERS = 12_288
# Under another name DuckDB's log outlives its removal.
_KEPT = ".kept"

# By suffix; those that are there.
Left = dict[str, bytes]


def found(path: Path) -> Left:
    """Return what a store's files hold now."""
    places = {suffix: Path(f"{path}{suffix}") for suffix in SUFFIXES}
    return {suffix: place.read_bytes() for suffix, place in places.items() if place.exists()}


def lay_out(left: Left, path: Path) -> None:
    """Write a store's files out."""
    for suffix, content in left.items():
        Path(f"{path}{suffix}").write_bytes(content)


def after_commit(path: Path, synced: bytes, rng: Random) -> tuple[Left, bool]:
    """Return what is left of a commit whose log was written, and not synced; and whether all of it is.

    synced is the log as it was before. What it had behind its last whole commit is cut off by the next one.
    """
    left = found(path)
    log = left[LOG]
    differs = (at for at, (old, new) in enumerate(zip(synced, log, strict=False)) if old != new)
    synced_bytes = next(differs, min(len(synced), len(log)))
    left[LOG] = torn(log, synced_bytes, rng.choice([0.0, 0.5, 0.9, 1.0]), rng)
    if rng.random() < 0.3:
        # Its length was not synced either.
        left[LOG] = left[LOG][: rng.randint(synced_bytes, len(log))]
    return left, left[LOG] == log


@dataclass(slots=True)
class Checkpoint:
    """A store's files as a checkpoint begins. The log is given another name besides, until it is told of."""

    path: Path
    before: Left

    @classmethod
    def begun(cls, path: Path) -> Checkpoint:
        """Note what there is."""
        os.link(f"{path}{LOG}", f"{path}{_KEPT}")
        return cls(path, found(path))

    def ended(self) -> bytes:
        """Return the log as it was at last, and forget it."""
        kept = Path(f"{self.path}{_KEPT}")
        log = kept.read_bytes()
        kept.unlink()
        return log

    def cut_short(self, log: bytes, rng: Random) -> Left:
        """Return what is left where the power was cut in it: before its header, within, or after."""
        left, after = dict(self.before), self.path.read_bytes()
        begin, old = after[:_HEADERS], self.before[""]
        when = rng.choice(["blocks", "header", "log", "note"])
        if when == "blocks":
            left[""] = old[:_HEADERS] + _some(old[_HEADERS:], after[_HEADERS:], rng)
            left[LOG] = rng.choice([log, self.before[LOG]])
        else:
            left[""] = (_some(old[:_HEADERS], begin, rng) if when == "header" else begin) + after[_HEADERS:]
            if when == "header":
                # The file is made shorter once its header is synced, and not before.
                left[""] += old[len(after) :]
            left[LOG] = log
        if when == "note":
            # The log is gone; the note goes after it.
            del left[LOG]
        return left


def _some(old: bytes, new: bytes, rng: Random) -> bytes:
    """Return old bytes with some sectors of new ones over them."""
    mixed, kept = bytearray(old.ljust(len(new), b"\0")), rng.choice([0.1, 0.5, 0.9])
    for at in range(0, len(new), SECTOR):
        if rng.random() < kept:
            mixed[at : at + SECTOR] = new[at : at + SECTOR]
    return bytes(mixed)
