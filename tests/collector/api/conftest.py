"""A collector that serves the books of two nodes."""

from collections.abc import Iterator

import pytest

from tests.simulated.cluster import Cluster, cluster
from tests.simulated.collector import LiveCollector


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Two nodes' books in a file, closed, so that a collector can open it."""
    made = cluster(str(tmp_path_factory.mktemp("books") / "books.duckdb"))
    made.store.close()
    return made


@pytest.fixture(scope="module")
def collector(books: Cluster) -> Iterator[LiveCollector]:
    """The collector over these books; no test here changes them."""
    with LiveCollector(books.path) as live:
        yield live


@pytest.fixture(scope="module")
def url(collector: LiveCollector) -> str:
    """Where its HTTP API is."""
    return f"http://{collector.addresses.http}"
