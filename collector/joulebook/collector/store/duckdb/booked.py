"""Rows of the ledger, of books that were made of Reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.figures import FIGURES, table_of
from joulebook.collector.store.duckdb.ids import Ids

Ints = npt.NDArray[np.int64]


def ledger_rows(
    books: Books, ids: Ids, interval_id: Ints, node_id: Ints, end_unix_us: Ints, duration_us: Ints
) -> dict[str, Any]:
    """Return the columns of books' rows; the four last arguments have an entry a Report."""
    columns = {
        "interval_id": interval_id[books.report],
        "node_id": node_id[books.report],
        "account_id": np.array([ids.account(a) for a in books.account], dtype=np.int64),
        "end_unix_us": end_unix_us[books.report],
        "duration_us": duration_us[books.report],
    }
    return columns | dict(zip(FIGURES, table_of(books).T, strict=True))
