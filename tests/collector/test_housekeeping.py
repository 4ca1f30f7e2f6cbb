"""The store is kept in order beside its commits, and a step that fails is tried again."""

import asyncio
from collections.abc import Iterator

import pytest

from joulebook.collector import housekeeping
from joulebook.collector.housekeeping import Housekeeping
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.protocol import StoreError
from tests.simulated.delivery import NOW_US, decoded, deliver
from tests.simulated.node import SimulatedNode

LIMIT_S = 300


class _Failing(Keeper):
    """Fails the first time."""

    failures = 0

    def steps(self, now_us: int) -> Iterator[str]:
        """Do as a keeper does, but for the first time."""
        if not self.failures:
            self.failures += 1
            raise StoreError("store: not written (No space left on device)")
        return super().steps(now_us)


def test_a_failure_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure the work is done all the same; a cancelled task leaves the store to be closed."""
    monkeypatch.setattr(housekeeping, "_AFTER_FAILURE_S", 0.001)
    store = DuckDBStore(":memory:")
    node = SimulatedNode()
    node.begin([])
    node.tick()
    deliver(store, [decoded(node, [node.report()])])
    keeper = _Failing(store)

    async def until_done() -> None:
        task = asyncio.create_task(Housekeeping(keeper, lambda: NOW_US, every_s=0.001).run())
        async with asyncio.timeout(LIMIT_S):
            while not store._rows("SELECT * FROM minutes"):
                assert not task.done()
                await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(until_done())
    assert keeper.failures == 1
    store.close()
