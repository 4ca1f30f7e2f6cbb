"""Sums by numbers of accounts, as rows with the accounts' names; small jobs beyond a limit as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ledger.figures import ENERGIES
from joulebook.collector.store.duckdb.hugeint import Whole, added, added_by, largest, whole
from joulebook.collector.store.duckdb.ledger_sums import SUMS, account_row
from joulebook.collector.store.duckdb.spreading import Stepped, places
from joulebook.collector.store.rows import AccountRow
from joulebook.collector.store.summed import REST


def steps_of(stepped: Stepped, names: Mapping[int, str], most_jobs: int | None) -> list[tuple[str, int, int]]:
    """Return (account, step, µJ); accounts without a name are left out. Jobs beyond the largest are one."""
    account_ids, place = places(stepped.account_id)
    steps, each_uj = stepped.step, stepped.uj
    accounts = [names.get(number) for number in account_ids.tolist()]
    rest: list[tuple[str, int, int]] = []
    beyond = _beyond(accounts, added_by(place, each_uj, len(accounts)), most_jobs)[place]
    if beyond.any():
        numbers, step = np.unique(steps[beyond], return_inverse=True)
        rest_uj = added_by(step, each_uj[beyond], len(numbers))
        rest = [(REST, *both) for both in zip(numbers.tolist(), rest_uj.tolist(), strict=True)]
        place, steps, each_uj = place[~beyond], steps[~beyond], each_uj[~beyond]
    found = zip([accounts[i] for i in place.tolist()], steps.tolist(), each_uj.tolist(), strict=True)
    return [(account, step, uj) for account, step, uj in found if account is not None] + rest


def accounts_of(table: pa.Table, names: Mapping[int, str], most_jobs: int) -> list[AccountRow]:
    """Return the rows of a table (account_id, NAMES), an account each, by account.

    Accounts without a name are left out; jobs beyond the largest are one.
    """
    accounts = [names.get(number) for number in table["account_id"].to_pylist()]
    columns = [whole(column) for column in table.columns[1:]]
    beyond = _beyond(accounts, added([columns[SUMS.index(name)] for name in ENERGIES]), most_jobs)
    kept = np.array([account is not None for account in accounts], dtype=bool)
    own = np.flatnonzero(kept & ~beyond)
    sums = zip(*(column[own].tolist() for column in columns), strict=True)
    rows = [account_row(str(accounts[i]), "", one) for i, one in zip(own.tolist(), sums, strict=True)]
    if beyond.any():
        rest = [int(added_by(np.zeros(int(beyond.sum()), np.int64), c[beyond], 1)[0]) for c in columns[:-2]]
        times = int(columns[-2][beyond].min()), int(columns[-1][beyond].max())
        rows.append(account_row(REST, "", (*rest, *times)))
    return sorted(rows, key=lambda row: row.account)


def _beyond(accounts: Sequence[str | None], energy_uj: Whole, most_jobs: int | None) -> npt.NDArray[np.bool_]:
    """Say which accounts are jobs beyond the largest."""
    beyond = np.zeros(len(accounts), dtype=bool)
    jobs = [i for i, account in enumerate(accounts) if account is not None and account.startswith("job:")]
    if most_jobs is not None and len(jobs) > most_jobs:
        beyond[jobs] = True
        most = largest(energy_uj[jobs], most_jobs, lambda i: str(accounts[jobs[i]]))
        beyond[[jobs[i] for i in most]] = False
    return beyond
