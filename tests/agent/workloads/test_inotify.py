"""What the kernel tells about directories."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.agent.workloads.inotify import Event, Inotify, parse_events


@pytest.fixture
def inotify() -> Iterator[Inotify]:
    instance = Inotify()
    yield instance
    instance.close()


def test_directories_made_and_removed_are_told(tmp_path: Path, inotify: Inotify) -> None:
    """Directories are told in the order of what happened; files are not."""
    watch = inotify.watch(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "a").rmdir()
    assert inotify.events() == [Event(watch, "a", made=True), Event(watch, "a", removed=True)]
    assert inotify.events() == []


def test_forgotten_directories_are_silent(tmp_path: Path, inotify: Inotify) -> None:
    """Nothing is told of a directory after it was forgotten."""
    inotify.forget(inotify.watch(tmp_path))
    (tmp_path / "a").mkdir()
    assert inotify.events() == []


def test_absent_directory_is_an_error_that_names_it(tmp_path: Path, inotify: Inotify) -> None:
    """Watching what is not there says so, with the path."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        inotify.watch(tmp_path / "nowhere")


def test_overflow_is_told() -> None:
    """A full queue is an event of its own."""
    raw = struct.pack("iIII", -1, 0x4000, 0, 0)
    assert parse_events(raw) == [Event(-1, "", overflow=True)]
