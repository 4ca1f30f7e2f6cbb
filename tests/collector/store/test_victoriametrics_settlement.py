"""Books that were settled are in VictoriaMetrics alone in the end, whatever it loses before."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from joulebook.collector.queries.audit import residuals_uj
from joulebook.collector.store.opened import open_store
from joulebook.collector.store.protocol import Store
from joulebook.collector.store.victoriametrics.keeping import Keeping
from joulebook.collector.store.victoriametrics.store import VictoriaStore
from tests.collector.store.conftest import settle
from tests.collector.store.settled import FACTS_3, settled_alone, settling
from tests.collector.store.test_conformance_settlement import JOBS, told, two_jobs
from tests.servers.victoriametrics import RunningVictoria, victoria_metrics
from tests.simulated.delivery import EVER, books_of, deliver

# As long the server may answer from what it found before a series was there.
_CACHED_S = 11.0


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningVictoria]:
    """A real VictoriaMetrics of these tests alone."""
    with victoria_metrics(tmp_path_factory.mktemp("victoria")) as running:
        yield running


def _opened(victoria: RunningVictoria, facts: Path) -> VictoriaStore:
    store: Store = open_store(victoria.address, facts=str(facts))
    assert isinstance(store, VictoriaStore)
    return store


def test_what_was_lost_of_rows_is_written_again(
    victoria: RunningVictoria,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that loses rows loses no joule: the facts have them until it shows them, and write them again.

    Then it has all of it alone, and the books are the same.
    """
    store = _opened(victoria, tmp_path / "facts")
    reports = two_jobs()
    deliver(store, [reports])
    with monkeypatch.context() as lossy:
        lossy.setattr(Keeping, "write", lambda *_: None)
        list(settling(store))
    wanted = {key: row for key, row in settled_alone(reports).items() if any(row)}
    assert books_of(store) == wanted
    assert {mark.booking for mark in store._facts.kept_marks()} == {0, 1}
    store._keeping.look(time.monotonic() + 1e6)
    store._keeping.look(time.monotonic() + 2e6)
    assert "written again" in caplog.text
    time.sleep(_CACHED_S)
    victoria.flush()
    store._keeping.look(time.monotonic() + 3e6)
    assert store._facts.kept_marks() == []
    assert books_of(store) == wanted
    assert residuals_uj(store, EVER) == {}
    before = told(store)
    store.close()
    store = _opened(victoria, tmp_path / "facts")
    assert told(store) == before
    assert list(settling(store)) == []
    # A late Report's hour is read off the server.
    (more,) = [one for one in two_jobs("n2") if one.start_us == reports[5].start_us]
    deliver(store, [[more]])
    assert "booked anew" in list(settling(store))
    assert residuals_uj(store, EVER) == {}
    store.close()


def test_hours_that_are_not_whole_stay_as_they_were_booked(
    victoria: RunningVictoria, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where readings or rows are gone, that node's hour is left as it is, provisional; others are settled."""
    store = _opened(victoria, tmp_path / "facts")
    deliver(store, [[*two_jobs("n1"), *two_jobs("n2")]])
    settle(store, victoria)
    # As if the server had lost a series' samples of one node.
    ours, lost = store._facts.books, "workload_cpu_us"
    selector = f'{{books="{ours}",node="n1",workload="slurm.1",__name__="{lost}"}}'
    store._server._request("POST", "/api/v1/admin/tsdb/delete_series", {"match[]": selector})
    live = books_of(store)
    assert "booked anew" in list(settling(store))
    assert "hour" in caplog.text
    assert lost in caplog.text
    assert {key: row for key, row in books_of(store).items() if key[0] == "n1"} == {
        key: row for key, row in live.items() if key[0] == "n1"
    }
    assert books_of(store) != live
    settled = store.settled(EVER, ["n1", "n2"])
    assert [settled.has(node, 1 << 52) for node in ("n1", "n2")] == [False, True]
    assert [job[:2] for job in told(store)] == [("ended", False)] * len(JOBS)
    store.close()


def test_facts_of_the_version_before_are_taken_over(victoria: RunningVictoria, tmp_path: Path) -> None:
    """A file without bookings has the same books, and its hours are settled."""
    path = tmp_path / "facts"
    store = _opened(victoria, path)
    reports = two_jobs()
    deliver(store, [reports])
    live = books_of(store)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FACTS_3)
    store = _opened(victoria, path)
    assert books_of(store) == live
    list(settling(store))
    assert books_of(store) == {key: row for key, row in settled_alone(reports).items() if any(row)}
    assert [job[:3] for job in told(store)] == [("ended", True, 2)] * len(JOBS)
    store.close()
