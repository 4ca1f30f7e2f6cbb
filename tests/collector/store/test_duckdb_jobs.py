"""The embedded store picks jobs as a list of all of them would."""

from random import Random

import pytest

from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.scheduled import Scheduled
from tests.collector.store.jobs_asked import choices, picked_of


@pytest.mark.parametrize("seed", range(5))
def test_pages_of_many_jobs(seed: int) -> None:
    """Jobs of several nodes, that began at the same time or ended twice, come in the same pages."""
    rng = Random(seed)
    store = DuckDBStore(":memory:")
    connection = store._connection
    connection.execute("INSERT INTO nodes SELECT n, 'n' || n FROM range(6) AS n(n)")
    for number in range(60):
        # Names sort otherwise than their numbers do, and not all are plain.
        job = f"slurm.{rng.randrange(30)}" + rng.choice(("", "", "é", "%_"))
        for node in rng.sample(range(6), rng.randrange(1, 4)):
            start_us = 1_000_000 * rng.randrange(8)
            if connection.execute("FROM jobs WHERE job = ? AND node_id = ?", [job, node]).fetchall():
                continue
            row = [number, node, job, "slurm", "x", rng.choice(("ada", "bob")), start_us]
            connection.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            for _ in range(rng.randrange(3)):
                end = [job, node, start_us + rng.randrange(1_000_000), 0]
                connection.execute("INSERT INTO job_ends VALUES (?, ?, ?, ?)", end)
    rows = store.jobs()
    store.schedule(
        {
            job: Scheduled(
                user=rng.choice(("", "ada", "bob")),
                account=rng.choice(("", "chem", "bio")),
                partition=rng.choice(("", "gpu", "long")),
            )
            for job in rng.sample(sorted({row.job for row in rows}), 12)
        }
    )
    every = picked_of(rows, store.scheduled())
    assert sorted(store.open_jobs()) == sorted(every.open_jobs())
    for asked in choices(rng, rows, 60):
        assert store.newest_jobs(asked) == every.newest_jobs(asked), asked
    store.close()
