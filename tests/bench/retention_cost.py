"""What is kept of 30 days of books once their rows are forgotten, and how long commits wait for it."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from joulebook.collector.ledger.figures import ENERGIES, TIER_ENERGIES
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.compacting import compact
from joulebook.collector.store.duckdb.forgetting import forget_minutes, forget_narrow, forget_rows
from joulebook.collector.store.duckdb.staging import insert

# A cluster's file is as many times larger as it has more nodes.
NODES, DAYS, REPORT_S = 5, 30, 10
KEPT_DAYS = 7
_DAY_US = 86_400_000_000
_FIRST_US = 20_400 * _DAY_US
# What every node books each Report: a job, what is idle, what is the system's and the agent's.
_ACCOUNTS = 4
_A_DAY = 86_400 // REPORT_S
# What each account receives by class: most nodes have CPU, memory and platform.
_MEAN_UJ = {"cpu_active_uj": 900_000_000, "memory_active_uj": 90_000_000, "platform_active_uj": 120_000_000}
_MEAN_UJ |= {"cpu_idle_uj": 300_000_000, "memory_idle_uj": 40_000_000, "platform_idle_uj": 30_000_000}


def retention() -> Iterator[tuple[str, float]]:
    """Give MiB of the file before, after and once compacted, and seconds of the steps in between."""
    with tempfile.TemporaryDirectory(dir=Path("build").resolve()) as name:
        path = Path(name) / "books.duckdb"
        store = DuckDBStore(path)
        _fill(store)
        store.checkpoint()
        yield "before_mib", _mib(path)
        until_us = _FIRST_US + (DAYS - KEPT_DAYS) * _DAY_US
        for what, forget in (("rows", forget_rows), ("minutes", forget_minutes)):
            steps_s, began = [], time.perf_counter()
            for _ in forget(store, until_us):
                steps_s.append(time.perf_counter() - began)
                began = time.perf_counter()
            yield f"{what}_steps", len(steps_s)
            yield f"{what}_step_median_ms", statistics.median(steps_s) * 1000
            yield f"{what}_step_max_ms", max(steps_s) * 1000
            store.checkpoint()
            yield f"after_{what}_mib", _mib(path)
        store.close()
        began = time.perf_counter()
        compact(path)
        yield "compact_s", time.perf_counter() - began
        yield "compacted_mib", _mib(path)
        for_ever = DuckDBStore(path)
        for forget in (forget_rows, forget_minutes):
            for _ in forget(for_ever, _FIRST_US + DAYS * _DAY_US):
                pass
        for_ever.close()
        compact(path)
        yield "for_ever_mib", _mib(path)


def _mib(path: Path) -> float:
    return path.stat().st_size / (1 << 20)


def _fill(store: DuckDBStore) -> None:
    """Write what commits write, a day at a time, and have the store's own roll-ups add it up."""
    connection = store._connection
    names = [f"n{node:04d}" for node in range(NODES)]
    accounts = [
        "unattributed",
        "idle",
        "system",
        "agent",
        *(f"job:slurm.{job}" for job in range(NODES * DAYS)),
    ]
    with store.writing():
        insert(connection, "nodes", pa.table({"node_id": np.arange(NODES), "node": names}))
        own = {"account_id": np.arange(len(accounts)), "account": accounts}
        insert(connection, "accounts", pa.table(own))
    rng = np.random.default_rng(4)
    for day in range(DAYS):
        first = day * _A_DAY * NODES
        number = first + np.arange(_A_DAY * NODES)
        node = number % NODES
        end_us = _FIRST_US + (number // NODES + 1) * REPORT_S * 1_000_000 + node * 40_000
        watched = {"interval_id": number, "node_id": node, "end_unix_us": end_us}
        times_us = {"reported_us": np.full(len(number), REPORT_S * 1_000_000)}
        none = np.zeros(len(number), dtype=np.int64)
        watched |= times_us | {"unread_us": none, "raised_uj": none, "measured_uj": none}
        of = np.repeat(np.arange(len(number)), _ACCOUNTS)
        account = np.tile(np.arange(_ACCOUNTS), len(number)) + 1
        account[_ACCOUNTS - 1 :: _ACCOUNTS] = 4 + node + day * NODES
        zero = np.zeros(len(of), dtype=np.int64)
        ledger = {"interval_id": number[of], "node_id": node[of], "account_id": account}
        ledger |= {"end_unix_us": end_us[of], "duration_us": times_us["reported_us"][of]}
        for column in ENERGIES:
            mean = _MEAN_UJ.get(column)
            ledger[column] = zero if mean is None else rng.integers(mean // 2, mean, len(of))
        ledger |= dict.fromkeys(TIER_ENERGIES, zero)
        ledger |= {"modelled_uj": zero, "systematic_uj": ledger["cpu_active_uj"] // 50}
        ledger["variance_uj2"] = rng.integers(0, 1 << 30, len(of))
        hours = np.searchsorted(number, first + np.arange(25) * 360 * NODES)
        for begin, end in pairwise(hours.tolist()):
            with store.writing():
                insert(connection, "watched_reports", pa.table(watched).slice(begin, end - begin))
                rows = slice(begin * _ACCOUNTS, end * _ACCOUNTS)
                insert(connection, "ledger", pa.table({k: v[rows] for k, v in ledger.items()}))
                connection.execute("UPDATE rolled SET interval_id = $1", [int(number[end - 1])])
                store._rolls.roll_everything(int(number[end - 1]) + 1)
        # As the keeper does, whatever is configured.
        for _ in forget_narrow(store, _FIRST_US + (day + 1) * _DAY_US):
            pass


if __name__ == "__main__":
    for figure, value in retention():
        print(f"{figure:24} {value:10.2f}", flush=True)
