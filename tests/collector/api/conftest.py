"""A collector that serves the books of two nodes, and alerts of them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.simulated.alerts import MadeUpBook, firing, pending, resolved
from tests.simulated.api import LiveApi
from tests.simulated.cluster import ENDED_JOB, JOB, Cluster, cluster


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Two nodes' books in a file, closed, so that a collector can open it."""
    made = cluster(str(tmp_path_factory.mktemp("books") / "books.duckdb"))
    made.store.close()
    return made


@pytest.fixture(scope="module")
def alerts() -> MadeUpBook:
    """An alert in each state, the newest first."""
    gpu = {"node": "n1", "gpu": "gpu.0", "job": JOB, "user": "ada"}
    silent = replace(firing({"node": "n2"}, "agent_silent", minutes=20), wasted_uj=None, evidence={})
    job = {"node": "n1", "job": ENDED_JOB, "user": "bob"}
    ended = resolved(firing(job, "cpu_held_idle", minutes=60), minutes_ago=2)
    odd: dict[str, int | float | str] = {"share": 0.25, "meter": "nvml", "residual_uj": -1}
    return MadeUpBook([pending(gpu, minutes=5), silent, replace(ended, evidence=odd)])


@pytest.fixture(scope="module")
def collector(books: Cluster, alerts: MadeUpBook) -> Iterator[LiveApi]:
    """The collector over these books; no test here changes them."""
    with LiveApi(books.path, alerts) as live:
        yield live


@pytest.fixture(scope="module")
def url(collector: LiveApi) -> str:
    """Where its HTTP API is."""
    return f"http://{collector.addresses.http}"
