"""A store that is taken back to a time has the series of that time, each reading once."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from joulebook.collector.check.books import embedded
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.duckdb.rewind import rewind
from joulebook.collector.store.protocol import Range
from tests.simulated.delivery import NOW_US, decoded, deliver
from tests.simulated.node import WALL_US, Load, SimulatedNode

_FIRST_US = WALL_US // HOUR_US * HOUR_US
_MINUTE_US = 60_000_000


def _reports() -> list[Decoded]:
    """Return Reports of two boots of a node, of which the second is away for a while, and of another node.

    They are in order, and many reach over a whole hour.
    """
    n1, again, n2 = (
        SimulatedNode(name=name, boot=boot * 16, wall_us=wall_us)
        for name, boot, wall_us in (
            ("n1", b"a", WALL_US),
            ("n1", b"b", WALL_US + 3 * HOUR_US),
            ("n2", b"c", WALL_US + 90_000_000),
        )
    )
    sent = []
    for node, count, away_after in ((n1, 17, -1), (again, 25, 4), (n2, 60, -1)):
        node.begin([Load("slurm.1", cpu_us=700_000, memory_bytes=1 << 30)])
        for number in range(count):
            for _ in range(3):
                node.tick(170_000_000)
            sent += decoded(node, [node.report()])
            if number == away_after:
                node.tick(5_400_000_000)
                node.restart_agent()
    return sorted(sent, key=_end_us)


def _end_us(one: Decoded) -> int:
    return one.end_us + one.realtime_offset_us


def _settle(store: DuckDBStore) -> None:
    for _ in Keeper(store, policy=Policy.RESERVED, settle_us=0).steps(NOW_US):
        pass


def _series(store: DuckDBStore, step_us: int) -> dict[tuple[Any, ...], list[int]]:
    """Return what every series says in steps: what it covers, what was counted, and levels in time."""
    found = {}
    selected = Range(_FIRST_US, _FIRST_US + 12 * HOUR_US)
    for metric in {key.metric for node in store.nodes() for key in node.layout.series}:
        for one in store.sums(selected, step_us, metric, None) or []:
            values = np.concatenate([one.covered_us, one.total, np.round(one.weighted / 1e6)])
            if values.any():
                found[metric, one.node, one.key.domain, one.key.device, one.key.workload] = values.tolist()
    return found


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store that has all Reports, with everything settled; it is for copying."""
    directory = tmp_path_factory.mktemp("settled")
    with closing(DuckDBStore(directory / "books")) as store:
        reports = _reports()
        for some in range(0, len(reports), 8):
            deliver(store, [reports[some : some + 8]])
        _settle(store)
    return directory


# On a whole hour, within a Report that reaches over one, a moment later, amid an hour; of the first boot.
@pytest.mark.parametrize(
    "at_us", [5 * HOUR_US, 5 * HOUR_US + 40_000_000, 5 * HOUR_US + 1_500_000_000, HOUR_US]
)
def test_series_by_minute_and_hour_are_those_of_the_time(settled: Path, tmp_path: Path, at_us: int) -> None:
    """Whatever was settled before, of any boot, no reading counts twice, and none that is left out counts."""
    reports, at_us = _reports(), _FIRST_US + at_us
    path = shutil.copytree(settled, tmp_path / "kept") / "books"
    early = [one for one in reports if _end_us(one) <= at_us]
    assert rewind(str(path), at_us) == len(reports) - len(early)
    with closing(DuckDBStore(path)) as store, closing(DuckDBStore(tmp_path / "early")) as known:
        deliver(known, [early])
        for is_settled in (False, True):
            if is_settled:
                _settle(store)
                _settle(known)
            for step_us in (_MINUTE_US, HOUR_US):
                assert _series(store, step_us) == _series(known, step_us)
            assert embedded(store, Policy.RESERVED) == []
        # What comes again is added as it was.
        deliver(store, [reports])
        deliver(known, [reports])
        _settle(store)
        for step_us in (_MINUTE_US, HOUR_US):
            assert _series(store, step_us) == _series(known, step_us)
