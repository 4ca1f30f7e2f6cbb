"""The books that questions are put to."""

from collections.abc import Iterator

import pytest

from tests.simulated.cluster import Cluster, cluster


@pytest.fixture
def books() -> Iterator[Cluster]:
    """Two nodes' books."""
    made = cluster()
    yield made
    made.store.close()
