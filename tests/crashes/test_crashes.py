"""Some crashes of every scene; `make crashes` has all of them."""

from pathlib import Path

import pytest

from joulebook.collector.store.duckdb import DuckDBStore
from tests.crashes.books import FILE
from tests.crashes.crash import HOW, check, record
from tests.crashes.medium import laid_out
from tests.crashes.recording import built
from tests.crashes.scenes import SCENES

_POINTS = 2


# In so many operations a new file is made and gets its first table.
_MAKING = 12
# Where a file's first block is, which has metadata, and how long; and how many checkpoints the scene makes.
_FIRST_BLOCK, _BLOCK, _CHECKPOINTS = 12_288, 262_144, 2


def test_a_new_file_that_was_being_made_can_be_opened(tmp_path: Path) -> None:
    """After a kill or a power cut at any operation of a store's first seconds it opens, empty or not."""
    recording = record(SCENES["committing"], built(tmp_path), tmp_path)
    for how in HOW:
        for number, crash in enumerate(recording.crashes(range(_MAKING), how)):
            root = tmp_path / f"{how} {number}"
            root.mkdir()
            laid_out(crash.content, root)
            DuckDBStore(root / FILE).close()


@pytest.mark.parametrize("scene", SCENES)
def test_whatever_a_crash_leaves_is_whole(scene: str, tmp_path: Path) -> None:
    """After a kill or a power cut at any file operation, all that was acknowledged is there, once."""
    recording = record(SCENES[scene], built(tmp_path), tmp_path)
    last = len(recording.operations)
    for number, how in enumerate(HOW):
        # The first and the last are among them; each way has its own.
        points = [(len(HOW) * i + number) * last // (len(HOW) * _POINTS - 1) for i in range(_POINTS)]
        for crash in recording.crashes(points, how):
            check(recording.scene, crash)


def test_a_power_cut_amid_a_checkpoint_harms_nothing(tmp_path: Path) -> None:
    """Between a checkpoint's note and the end of its new header all that was acknowledged is there, once."""
    recording = record(SCENES["committing"], built(tmp_path), tmp_path)
    in_place = {
        number
        for number, operation in enumerate(recording.operations)
        if (operation.kind, operation.place, len(operation.data)) == ("w", _FIRST_BLOCK, _BLOCK)
    }
    # The first one finds no metadata to overwrite.
    assert len(in_place) >= _CHECKPOINTS
    # The block is written, synced, the header written, synced, the log removed, the note removed.
    for number, seed in zip(sorted(in_place), range(_CHECKPOINTS), strict=False):
        for crash in recording.crashes(range(number, number + 6), "power cut", seed):
            check(recording.scene, crash)
