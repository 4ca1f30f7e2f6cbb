"""What a program did to files below a directory, in order, as a preloaded library wrote it down."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.programs import program

_HEAD = struct.Struct("<ciqI")
_SOURCE = Path(__file__).with_name("recorder.c")


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: its kind as in recorder.c, the descriptor, a place, size or flags, and its bytes or paths."""

    kind: str
    descriptor: int
    place: int
    data: bytes

    @property
    def paths(self) -> list[str]:
        """Return its paths, from the directory on."""
        return [path.removeprefix("/") for path in os.fsdecode(self.data).split("\n")]


def built(directory: Path) -> Path:
    """Compile the recorder, or skip the test where there is no compiler."""
    library = directory / "recorder.so"
    compiler = program("gcc", package="gcc")
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return library


def recorded(library: Path, root: Path, arguments: Sequence[str]) -> list[Operation]:
    """Run a Python program with its operations below a directory recorded; return them."""
    to = library.with_suffix(".recorded")
    # Cleared, so that no part of a wheel's own allocator or tracer is preloaded besides.
    environment = os.environ | {
        "LD_PRELOAD": str(library),
        "JOULEBOOK_RECORD_ROOT": str(root),
        "JOULEBOOK_RECORD_TO": str(to),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    operations = list(_parsed(to.read_bytes()))
    to.unlink()
    return operations


def _parsed(data: bytes) -> Iterator[Operation]:
    at = 0
    while at < len(data):
        kind, descriptor, place, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield Operation(kind.decode(), descriptor, place, data[at : at + length])
        at += length
