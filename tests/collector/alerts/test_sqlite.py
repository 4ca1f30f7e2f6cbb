"""Alerts in a file: all or nothing, over restarts and kills."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from joulebook.collector.alerts.alert import Alert, Evidence, State
from joulebook.collector.alerts.sqlite import SqliteAlerts
from joulebook.collector.alerts.store import AlertStoreError

_PENDING = Alert("agent_silent", {"node": "n1"}, State.PENDING, 100, 110, 10, None)
_LABELS = {"node": "n2", "gpu": "gpu.0", "job": "run.ß\n", "user": "ada"}
_EVIDENCE: Evidence = {"power_mw": 1, "share": 0.5, "a": "b"}
_FIRING = Alert("gpu_held_idle", _LABELS, State.FIRING, 200, 210, 10, 1 << 60, _EVIDENCE, 205)
_RESOLVED = Alert("cpu_held_idle", {"node": "n3"}, State.RESOLVED, 50, 60, 10, 0, {}, 55, 60, "released")


def test_kept_over_a_restart(tmp_path: Path) -> None:
    """Everything of an alert is there again, newest first; what ended or is too old is not."""
    path = str(tmp_path / "state" / "alerts.sqlite")
    kept = SqliteAlerts(path)
    kept.save([_PENDING, _FIRING, _RESOLVED], [], 0)
    kept.close()
    kept = SqliteAlerts(path)
    assert kept.load() == [_FIRING, _PENDING, _RESOLVED]
    kept.save([_FIRING], [_PENDING.id], 61)
    assert kept.load() == [_FIRING]
    kept.close()


def test_all_or_nothing(tmp_path: Path) -> None:
    """What cannot be kept whole leaves everything as it was."""
    kept = SqliteAlerts(str(tmp_path / "alerts.sqlite"))
    kept.save([_PENDING], [], 0)
    # The disk is full.
    kept._connection.execute("PRAGMA max_page_count = 2")
    many = [replace(_FIRING, since_us=i) for i in range(1000)]
    with pytest.raises(AlertStoreError, match=r"alerts\.sqlite: not kept .*full"):
        kept.save(many, [_PENDING.id], 0)
    assert kept.load() == [_PENDING]
    kept._connection.execute("PRAGMA max_page_count = 100000")
    kept.save([_FIRING], [], 0)
    assert kept.load() == [_FIRING, _PENDING]
    kept.close()


def test_killed_while_it_writes(tmp_path: Path) -> None:
    """After kill -9 in the middle of writing, what had been kept before is whole."""
    path = tmp_path / "alerts.sqlite"
    script = """
import sys, itertools
from dataclasses import replace
from tests.collector.alerts.test_sqlite import _FIRING, SqliteAlerts
kept = SqliteAlerts(sys.argv[1])
for i in itertools.count(1):
    kept.save([replace(_FIRING, since_us=n, seen_us=i) for n in range(50)], [], 0)
    print(i, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        said = [int(next(writer.stdout)) for _ in range(20)][-1]
        os.kill(writer.pid, signal.SIGKILL)
        said = max([said, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    kept = SqliteAlerts(str(path))
    found = kept.load()
    assert len(found) == 50
    # All of one save, and of the last that was known to be done or of one after it.
    (seen_us,) = {alert.seen_us for alert in found}
    assert seen_us >= said
    kept.close()


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _not_one(path: Path) -> None:
    path.write_text("not a database, but long enough to look at" * 100)


def _directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_newer, r"are of version 99, expected 1; move the file away"),
        (_not_one, "cannot be opened .*not a database"),
        (_directory, "cannot be opened"),
    ],
)
def test_file_that_cannot_be_used(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    """A file that is none of ours is named and left as it is."""
    path = tmp_path / "alerts.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(AlertStoreError, match=message):
        SqliteAlerts(str(path))
    assert not path.is_file() or path.read_bytes() == before
