"""A file of the first version, opened by this program."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import duckdb

from joulebook.collector.check.books import embedded
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import DuckDBStore
from tests.crashes.books import FILE
from tests.crashes.scene import Say
from tests.simulated.delivery import books_of

_VERSION_1 = Path(__file__).parents[1] / "collector/store/migrations/version_1.sql"
_BOOKS = json.loads(_VERSION_1.with_suffix(".books.json").read_text())


class Migrating:
    """Its tables are of one version or the other, and so are its books."""

    name = "migrating"

    def prepare(self, root: Path) -> None:
        """Make a file of the first version."""
        with duckdb.connect(str(root / FILE)) as connection:
            connection.execute(_VERSION_1.read_text())

    def act(self, root: Path, say: Say) -> None:
        """Open it, and let go of it."""
        with closing(DuckDBStore(root / FILE)):
            say("migrated")

    def check(self, root: Path, said: list[str]) -> None:
        """Find the same books, brought up now if they were not."""
        del said
        with closing(DuckDBStore(root / FILE)) as store:
            assert {" ".join(key): [*own] for key, own in books_of(store).items()} == _BOOKS
            assert embedded(store, Policy.RESERVED) == []
