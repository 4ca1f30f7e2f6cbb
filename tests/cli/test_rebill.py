"""Past hours are booked by another policy, to the µJ, and what was said before is still told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from joulebook.cli.main import main
from joulebook.collector.check.books import embedded
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.queries.jobs import get_job
from joulebook.collector.queries.times import rfc3339
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.rows import AccountRow
from tests.simulated.delivery import EVER, decoded, deliver
from tests.simulated.node import WALL_US, Load, SimulatedNode

_FROM_US = WALL_US // HOUR_US * HOUR_US
_LATER_US = WALL_US + 100 * HOUR_US
JOB = "slurm.7"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a job that holds half of a node for a minute and uses an eighth."""
    node = SimulatedNode(cpus=8)
    sent = []
    for loads in ([Load(JOB, cpu_us=1_000_000, reserved_millicpus=4000, start_unix_us=WALL_US)], []):
        node.begin(loads)
        for _ in range(6):
            for _ in range(10):
                node.tick()
            sent.append(node.report())
    store = DuckDBStore(tmp_path / "books")
    deliver(store, [decoded(node, sent)])
    for _ in Keeper(store, policy=Policy.RESERVED).steps(_LATER_US):
        pass
    store.close()
    return tmp_path / "books"


def _rebilled(path: Path, *more: str, from_us: int = _FROM_US, to_us: int = _FROM_US + HOUR_US) -> Result:
    times = ["--from", rfc3339(from_us), "--to", rfc3339(to_us)]
    return CliRunner().invoke(main, ["rebill", "--store", str(path), *times, *more])


def _books(path: Path) -> tuple[list[AccountRow], Any]:
    store = DuckDBStore(path)
    try:
        assert embedded(store, Policy.RESERVED) == []
        return store.accounts(EVER), get_job(store, JOB)
    finally:
        store.close()


def test_who_uses_pays_for_the_floor(path: Path) -> None:
    """The job holds four of eight cores and alone uses any: half of the floor becomes all of it."""
    before, job = _books(path)
    told = _rebilled(path, "--policy", "active", "--dry-run", "--json")
    assert told.exit_code == 0, told.output
    assert _books(path) == (before, job)
    done = json.loads(_rebilled(path, "--policy", "active", "--json").stdout)
    assert done == json.loads(told.stdout) | {"dry_run": False}
    assert done["hours"] == 1
    after, now = _books(path)
    by_account = {one["account"]: (one["before_uj"], one["after_uj"]) for one in done["accounts"]}
    assert by_account[f"job:{JOB}"] == (job.energy_uj, now.energy_uj)
    assert now.by_domain.cpu - job.by_domain.cpu == 60 * 20_000_000
    assert sum(was for was, _ in by_account.values()) == sum(now for _, now in by_account.values())
    assert (now.revision, [was.energy_uj for was in now.superseded]) == (
        job.revision + 1,
        [*(was.energy_uj for was in job.superseded), job.energy_uj],
    )
    # The collector's own policy is another: settled hours stay as they were billed.
    store = DuckDBStore(path)
    list(Keeper(store, policy=Policy.RESERVED).steps(_LATER_US))
    store.close()
    assert _books(path) == (after, now)
    shown = _rebilled(path, "--policy", "active", "--dry-run").output
    assert "1 hour from" in shown
    assert "would be booked by 'active'" in shown


@pytest.mark.parametrize(
    ("policy", "from_us", "to_us", "expected"),
    [
        ("fair", _FROM_US, _FROM_US + HOUR_US, "'fair' is not one of 'reserved', 'active', 'none'"),
        ("none", _FROM_US + 1, _FROM_US + HOUR_US, "expected a whole hour (UTC)"),
        ("none", _FROM_US, _FROM_US + HOUR_US + 1, "expected a whole hour (UTC)"),
        ("none", _FROM_US + HOUR_US, _FROM_US, "expected a time before to"),
    ],
)
def test_what_cannot_be(path: Path, policy: str, from_us: int, to_us: int, expected: str) -> None:
    """It is said what is wrong and what to name, and nothing is changed."""
    before = _books(path)
    failed = _rebilled(path, "--policy", policy, from_us=from_us, to_us=to_us)
    assert failed.exit_code != 0
    assert expected in failed.output
    assert _books(path) == before
