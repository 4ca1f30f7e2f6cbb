"""A real DuckDB file behind a simulated collector: what a dead one leaves is what the next one opens.

A collector may die between any two statements of a transaction, any statement may fail, and the power may be
cut within a commit or a checkpoint, of which there are many.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from random import Random
from typing import Any, NoReturn, cast

import duckdb

from joulebook.collector.check.books import embedded
from joulebook.collector.ingest.sequence import PlacedGap, Span
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.protocol import Commit, StoreError
from joulebook.collector.store.rows import Places
from tests.simulation import power
from tests.simulation.lateness import wrong_lateness
from tests.simulation.loop import CrashError, Loop, Process
from tests.simulation.stored import Boot, Stored, stored_of
from tests.simulation.stores import Opened, Outage

_EVER_US = 1 << 52
# How long a log becomes before a checkpoint is made, in place of 64 MiB: some commits to many.
_THRESHOLDS = (1 << 15, 1 << 16, 1 << 18)
# How likely the power is cut in a checkpoint, and in a commit, while it still is.
_CUT_IN_CHECKPOINT, _CUT_IN_COMMIT = 0.3, 0.01


class DuckDBFile:
    """The file, and beside it a list of what was committed. The power is cut up to so many times."""

    def __init__(self, loop: Loop, rng: Random, directory: Path, power_cuts: int = 0) -> None:
        self.loop, self.rng = loop, rng
        self.power_cuts = power_cuts
        # What happened to it, by name.
        self.counts: Counter[str] = Counter()
        self._left: power.Left | None = None
        self.outage = Outage()
        self.failed = 0
        self.wrong: list[str] = []
        self._directory = directory
        self._lives = 0
        self.committed: dict[tuple[str, bytes, int], Stored] = {}
        self.store: DuckDBStore | None = None

    def opened(self, process: Process) -> Opened:
        """Open the file as the last collector left it: whole commits, and what else the kernel has."""
        before = self._directory / f"{self._lives}.duckdb"
        self._lives += 1
        after = self._directory / f"{self._lives}.duckdb"
        power.lay_out(power.found(before) if self._left is None else self._left, after)
        self._left = None
        blocks = Path(f"{before}.blocks")
        if blocks.exists():
            shutil.copytree(blocks, Path(f"{after}.blocks"))
        self.close()
        try:
            self.store = DuckDBStore(after)
        except StoreError as error:
            self.wrong.append(f"DuckDB's file does not open: {error}")
            raise
        self.store.checkpoints.threshold_bytes = self.rng.choice(_THRESHOLDS)
        return _Open(self, self.store, process)

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self.outage, self.power_cuts = Outage(), 0

    def is_cut(self, likely: float) -> bool:
        """Say whether the power is cut now."""
        cut = self.power_cuts > 0 and self.rng.random() < likely
        self.power_cuts -= cut
        return cut

    def leave(self, left: power.Left) -> None:
        """Have the next collector find just this; what this one does yet, nobody will know."""
        self._left = left

    def note(self, commit: Commit) -> None:
        """Note what is durable from now on."""
        self.wrong += wrong_lateness(self.stored(), commit)
        for one in stored_of(commit):
            self.committed[(*one.boot, one.decoded.start_us)] = one

    def has(self, node: str, boot: bytes, start_us: int) -> bool:
        """Return whether a Report is durable."""
        return (node, boot, start_us) in self.committed

    def stored(self) -> list[Stored]:
        """Return the Reports that were committed."""
        return list(self.committed.values())

    def gaps(self) -> list[PlacedGap]:
        """Return nothing: its gaps are among its accounts."""
        return []

    def finish(self) -> list[str]:
        """Do all that housekeeping leaves to do; say what was wrong with the file before and after."""
        assert self.store is not None
        statements = self.store._connection
        if isinstance(statements, _Statements):
            self.store._connection = statements._connection
        wrong = embedded(self.store, Policy.RESERVED)
        for _ in keeper(self.store).steps(_EVER_US):
            pass
        return [f"DuckDB's file: {one}" for one in (*wrong, *embedded(self.store, Policy.RESERVED))]

    def superseded(self) -> Counter[str]:
        """Return how often booking anew raised each job's revision."""
        assert self.store is not None
        rows = self.store._rows("SELECT account FROM superseded JOIN accounts USING (account_id)")
        return Counter(account.removeprefix("job:") for (account,) in rows)

    def close(self) -> None:
        """Close what is open."""
        if self.store is not None:
            self.store.close()
            self.store = None


def keeper(store: DuckDBStore) -> Keeper:
    """Return who keeps house; every hour is over at once, so it is booked anew again and again."""
    return Keeper(store, policy=Policy.RESERVED, settle_us=0)


class _Statements:
    """The store's connection; each statement takes time, may fail, and may be the collector's last."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, shared: DuckDBFile, process: Process, path: Path
    ) -> None:
        self._connection, self._shared, self._process = connection, shared, process
        self.path, self._log = path, Path(f"{path}{power.LOG}")
        self.commit: Commit | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: str, *parameters: Any) -> Any:
        """Execute a statement, or do not."""
        shared = self._shared
        shared.loop.pause((0.0001 + shared.outage.slow_s / 10) * shared.rng.random())
        self._process.step()
        # A rollback does not fail: it has nothing to write.
        if query != "ROLLBACK" and shared.rng.random() < shared.outage.fails / 10:
            shared.failed += 1
            raise duckdb.IOException("No space left on device")
        if query == "CHECKPOINT" and self._log.exists():
            return self._checkpoint()
        may_be_cut = query == "COMMIT" and shared.power_cuts > 0 and self._log.exists()
        synced = self._log.read_bytes() if may_be_cut else b""
        done = self._connection.execute(query, *parameters)
        if query == "COMMIT":
            self._committed(synced)
        self._process.step()
        return done

    def _checkpoint(self) -> Any:
        shared = self._shared
        begun = power.Checkpoint.begun(self.path)
        try:
            done = self._connection.execute("CHECKPOINT")
        finally:
            log = begun.ended()
        shared.counts["checkpoints"] += 1
        if shared.is_cut(_CUT_IN_CHECKPOINT):
            shared.counts["power cuts in a checkpoint"] += 1
            self._end(begun.cut_short(log, shared.rng))
        self._process.step()
        return done

    def _committed(self, synced: bytes) -> None:
        """Note what is durable now, unless the power was cut before it was."""
        shared = self._shared
        left, whole = None, True
        if self._log.exists() and shared.is_cut(_CUT_IN_COMMIT):
            shared.counts["power cuts in a commit"] += 1
            left, whole = power.after_commit(self.path, synced, shared.rng)
        if whole and self.commit is not None:
            shared.note(self.commit)
        if left is not None:
            self._end(left)

    def _end(self, left: power.Left) -> NoReturn:
        self._shared.leave(left)
        self._process.die()
        raise CrashError


class _Open:
    shared = False

    def __init__(self, shared: DuckDBFile, store: DuckDBStore, process: Process) -> None:
        self._shared, self._store, self._process = shared, store, process
        self._statements = _Statements(store._connection, shared, process, Path(store._path))
        store._connection = cast(duckdb.DuckDBPyConnection, self._statements)
        # Everything is settled at once, so that what comes late finds its neighbours in blocks.
        self._keeper = keeper(store)
        self._house: Iterator[str] = iter(())

    def _work(self) -> None:
        self._shared.loop.pause((0.001 + self._shared.outage.slow_s) * self._shared.rng.random())
        self._process.step()
        if self._shared.outage.away or self._shared.rng.random() < self._shared.outage.fails:
            self._shared.failed += 1
            raise StoreError("store: not written (No space left on device)")

    def tails(self) -> dict[Boot, Span]:
        self._work()
        return self._store.tails()

    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]:
        self._work()
        return self._store.spans(node, boot, start_us, end_us)

    def places(self, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]) -> Places:
        return self._store.places(nodes, jobs, everywhere)

    def _keep_house(self) -> None:
        """Do some of the steps that are due; whoever dies leaves the others undone."""
        rng = self._shared.rng
        # A transaction of its own makes no Report durable.
        self._statements.commit = None
        try:
            for _ in range(rng.choice([0, 0, 0, 0, 0, 0, 1, 4, 20])):
                if next(self._house, None) is None:
                    self._house = self._keeper.steps(_EVER_US)
        except StoreError:
            self._house = iter(())

    def commit(self, commit: Commit) -> None:
        self._work()
        self._keep_house()
        self._statements.commit = commit
        self._store.commit(commit)
        # Durable; whoever dies now does not know.
        self._process.step()
        self._shared.loop.pause(self._shared.rng.random() * 0.001)
