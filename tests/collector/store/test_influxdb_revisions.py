"""Of what comes late, InfluxDB counts what has its mark, and what had one before that was forgotten."""

import pytest

from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.protocol import StoreError
from tests.collector.store.conftest import Kind
from tests.collector.store.test_conformance_revisions import (
    JOB,
    a_job_on_two_nodes,
    committer_of,
    revision,
)
from tests.simulated.delivery import deliver
from tests.simulated.node import WALL_US

pytestmark = pytest.mark.parametrize("kind", ["influxdb"], indirect=True)


def test_forgotten_marks_leave_it(kind: Kind) -> None:
    """When the server drops what is older than it is to keep, the figure is still known to have changed."""
    store = kind.opened()
    assert isinstance(store, InfluxStore)
    first, second = a_job_on_two_nodes()
    deliver(store, [first, second[3:]])
    committer_of(store).apply(second[:2])
    assert revision(store) == ("ended", 3)
    store._server.query(f"DELETE FROM report WHERE time <= {WALL_US + 2_000_000}u")
    assert store.revisions([JOB])[JOB].number == 3


def test_without_its_mark_nothing_counts(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Report of which all was written but its mark has changed no figure, and raised no revision."""
    store = kind.opened()
    assert isinstance(store, InfluxStore)
    first, second = a_job_on_two_nodes()
    deliver(store, [first, second[3:]])
    write = store._server.write

    def fails(body: bytes, policy: str = "") -> None:
        if body.startswith(b"report,"):
            raise StoreError("no answer")
        write(body, policy)

    with monkeypatch.context() as patch:
        patch.setattr(store._server, "write", fails)
        with pytest.raises(StoreError):
            committer_of(store).apply(second[:1])
    (found,) = store._server.query('SELECT * FROM "names"."revision"')
    assert len(found[0].values) == 1
    assert revision(store) == ("ended", 1)
