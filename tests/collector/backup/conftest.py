"""Books that are hard, in a file, and a backup of them."""

from pathlib import Path

import pytest

from tests.collector.backup.files import joulebook
from tests.collector.store.histories import history
from tests.simulated.cluster import cluster
from tests.simulated.delivery import deliver
from tests.simulated.node import SimulatedNode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Books of three nodes in a file: gaps, restarts, an ended job, and a wall clock that was set back."""
    made = cluster(str(tmp_path / "books.duckdb"))
    reports = history(SimulatedNode(name="n3"), step_us=3_000_000)
    deliver(made.store, [reports[:2], reports[3:]])
    made.store.close()
    return Path(made.path)


@pytest.fixture
def backup(path: Path) -> Path:
    """A backup of them."""
    to = path.parent / "backup"
    taken = joulebook("backup", to, "--store", path)
    assert taken.exit_code == 0, taken.output
    return to
