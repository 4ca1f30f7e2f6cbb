"""Rows of SQLite files that nobody of ours wrote are told as that, by name of the file."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.alerts.sqlite import SqliteAlerts
from joulebook.collector.alerts.store import AlertStoreError
from joulebook.collector.facts.mark import Mark
from joulebook.collector.facts.protocol import Place, Told
from joulebook.collector.facts.sqlite import SqliteFacts
from joulebook.collector.store.protocol import StoreError

_BOOT = b"b" * 16
_VALUE = (
    st.integers(-(1 << 63), (1 << 63) - 1)
    | st.text(max_size=12)
    | st.binary(max_size=12)
    | st.floats(allow_nan=False)
)
_COLUMNS = ["clock", "end_unix_us", "start_us", "end_us", "start_unix_us", "ledger_rows", "unread_us"]
_COLUMNS += ["raised_uj", "layout", "interval_us", "first_uj", "last_uj"]


def _made(path: str) -> None:
    """Make a file with one Report."""
    with closing(SqliteFacts(path)) as facts:
        mark = Mark("n1", _BOOT, "", 10_000_000, 0, 1_000_000, 9_000_000, 1, 0, 0, 7, "1000000", "1", "2")
        facts.reserve([Place(mark, 9001, 10_000, b"d" * 16)])
        facts.settle({mark.name: b"content"}, {mark.name: b"d" * 16}, Told())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(_COLUMNS), _VALUE)
def test_a_mark_that_was_changed_is_read_whole_or_told(column: str, value: object) -> None:
    """Whatever stands in a column, each question ends in marks of the right kinds or in a StoreError."""
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "facts")
        _made(path)
        with closing(sqlite3.connect(path)) as changed:
            changed.execute(f"UPDATE marks SET {column} = ?", [value])
            changed.commit()
        try:
            facts = SqliteFacts(path)
        except StoreError:
            return
        questions: list[Callable[[], list[Mark]]] = [
            facts.tails,
            lambda: facts.nodes(None),
            lambda: list(facts.during(-(1 << 62), 1 << 62, None).ended),
            lambda: facts.around("n1", _BOOT, 0, 1),
            facts.kept_marks,
        ]
        for ask in questions:
            with suppress(StoreError):
                for mark in ask():
                    assert [type(own) for own in (mark.end_us, mark.raised_uj, mark.layout)] == [int] * 3
                    assert type(mark.first_uj) is str
        facts.close()


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b'{"id": 1}', b"null"]))
def test_an_alert_that_was_changed_is_told(content: bytes) -> None:
    """What is no alert is an error that names the file."""
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "alerts")
        with closing(SqliteAlerts(path)) as alerts:
            alerts._connection.execute("INSERT INTO alerts VALUES ('a', 1, NULL, ?)", [content])
            try:
                alerts.load()
            except AlertStoreError as error:
                told = str(error)
        assert path in told


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=64), st.integers(0, 1 << 17))
def test_a_damaged_file_is_told(damage: bytes, place: int) -> None:
    """Bytes overwritten anywhere in a file of facts or alerts end in answers or in the store's own error."""
    with tempfile.TemporaryDirectory() as directory:
        path, other = Path(directory) / "facts", Path(directory) / "alerts"
        _made(str(path))
        SqliteAlerts(str(other)).close()
        for file in (path, other):
            data = bytearray(file.read_bytes())
            at = place % len(data)
            data[at : at + len(damage)] = damage
            file.write_bytes(data)
        with suppress(StoreError):
            facts = SqliteFacts(str(path))
            for ask in (
                facts.tails,
                facts.kept_marks,
                lambda: facts.jobs(None, None),
                lambda: facts.sources(None),
            ):
                with suppress(StoreError):
                    ask()
            facts.close()
        with suppress(AlertStoreError), closing(SqliteAlerts(str(other))) as alerts:
            alerts.load()
