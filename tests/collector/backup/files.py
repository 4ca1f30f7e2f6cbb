"""The commands that make and read backups, and what is in the files."""

from __future__ import annotations

from pathlib import Path

import duckdb
from click.testing import CliRunner, Result

from joulebook.cli.main import main
from joulebook.collector.check.books import embedded
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import DuckDBStore
from tests.simulated.delivery import books_of

Books = dict[tuple[str, str], tuple[int, ...]]


def joulebook(*arguments: str | Path) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def restored(backup: Path, store: Path, *options: str) -> Result:
    """Restore a backup as a file."""
    return joulebook("restore", backup, "--to", store, *options)


def sound_books(path: Path) -> Books:
    """Return the books of a file, which must be those that its readings make."""
    store = DuckDBStore(path)
    try:
        assert embedded(store, Policy.RESERVED) == []
        return books_of(store)
    finally:
        store.close()


def energy_uj(books: Books) -> int:
    """Return what all accounts have."""
    return sum(sum(own[:12]) for own in books.values())


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return all that a file holds, by table."""
    with duckdb.connect(str(path), read_only=True) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {n: connection.execute(f'SELECT * FROM "{n}" ORDER BY ALL').fetchall() for n in names}
