"""Small numbers for the names in an embedded store's tables."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from joulebook.collector.ledger.layout import NodeLayout

_COLUMNS = {
    "nodes": ("node_id", "node"),
    "boots": ("boot_id", "node_id", "boot"),
    "accounts": ("account_id", "account"),
    "layouts": ("layout_id", "node_id", "hash", "serialized"),
    "jobs": ("job_number", "node_id", "job", "source", "name", "user_name", "start_unix_us"),
}


class Ids:
    """The numbers of nodes, boots, accounts, layouts and jobs.

    New ones are written in the commit that first uses them: stage with the getters, write with insert(), then
    keep() once the transaction is through, or drop() when it failed.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._nodes = dict(connection.execute("SELECT node, node_id FROM nodes").fetchall())
        self._boots = {(n, bytes(b)): i for b, n, i in _all(connection, "boots", "boot, node_id, boot_id")}
        self._accounts = dict(_all(connection, "accounts", "account, account_id"))
        self._layouts = {(n, h): i for n, h, i in _all(connection, "layouts", "node_id, hash, layout_id")}
        self._jobs = {(n, j): i for n, j, i in _all(connection, "jobs", "node_id, job, job_number")}
        # Jobs that said no name or no user yet; what they told since is written with the next commit.
        self._lacking = {
            i: (n, u) for i, n, u in _all(connection, "jobs", "job_number, name, user_name") if not (n and u)
        }
        self._told: dict[int, tuple[str, str]] = {}
        self._staged: dict[str, list[tuple[Any, ...]]] = {}
        # Not how many there are: jobs that a store taken back in time no longer names are gone.
        self._kept_next = {
            table: max(known.values(), default=-1) + 1
            for table, known in (
                ("nodes", self._nodes),
                ("boots", self._boots),
                ("accounts", self._accounts),
                ("layouts", self._layouts),
                ("jobs", self._jobs),
            )
        }
        self._next = dict(self._kept_next)
        self._undo: list[tuple[dict[Any, Any], object]] = []

    def _new(self, table: str, known: dict[Any, int], key: Any, *columns: object) -> int:
        number = self._next[table]
        self._next[table] = number + 1
        known[key] = number
        self._staged.setdefault(table, []).append((number, *columns))
        self._undo.append((known, key))
        return number

    def node(self, node: str) -> int:
        """Return a node's number."""
        found: int | None = self._nodes.get(node)
        return found if found is not None else self._new("nodes", self._nodes, node, node)

    def boot(self, node: str, boot: bytes) -> int:
        """Return the number of a boot of a node."""
        key = (self.node(node), boot)
        found: int | None = self._boots.get(key)
        return found if found is not None else self._new("boots", self._boots, key, key[0], boot)

    def knows_boot(self, node: str, boot: bytes) -> bool:
        """Say whether anything of a node's boot was ever stored."""
        return (self._nodes.get(node), boot) in self._boots

    def account(self, account: str) -> int:
        """Return an account's number."""
        found: int | None = self._accounts.get(account)
        return found if found is not None else self._new("accounts", self._accounts, account, account)

    def layout(self, layout: NodeLayout) -> int:
        """Return a layout's number."""
        key = (self.node(layout.node), layout.hash)
        found: int | None = self._layouts.get(key)
        if found is not None:
            return found
        return self._new("layouts", self._layouts, key, *key, layout.serialized)

    def has_layout(self, layout: NodeLayout) -> bool:
        """Say whether a layout is known already."""
        return (self.node(layout.node), layout.hash) in self._layouts

    def job(self, node: int, job: str, source: str, name: str, user: str, start_unix_us: int) -> int:
        """Return the number of a job on a node; what is said of it first is kept, what was not is added."""
        key = (node, job)
        found: int | None = self._jobs.get(key)
        if found is None:
            found = self._new("jobs", self._jobs, key, *key, source, name, user, start_unix_us)
            if not (name and user):
                self._lacking[found] = (name, user)
                self._undo.append((self._lacking, found))
        elif (lacking := self._told.get(found) or self._lacking.get(found)) is not None:
            told = (lacking[0] or name, lacking[1] or user)
            if told != lacking:
                self._told[found] = told
        return found

    def insert(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Write what is staged, in the caller's transaction."""
        for table, rows in self._staged.items():
            names = _COLUMNS[table]
            columns = zip(names, zip(*rows, strict=True), strict=True)
            # Hashes fill all 64 bits.
            staged = pa.table(
                {name: pa.array(values, pa.uint64() if name == "hash" else None) for name, values in columns}
            )
            connection.register("staged_names", staged)
            connection.execute(f"INSERT INTO {table} SELECT {', '.join(names)} FROM staged_names")
            connection.unregister("staged_names")
        for number, told in self._told.items():
            connection.execute(
                "UPDATE jobs SET name = ?, user_name = ? WHERE job_number = ?", [*told, number]
            )

    def keep(self) -> None:
        """Take what was staged for durable."""
        for number, told in self._told.items():
            self._lacking[number] = told
            if all(told):
                del self._lacking[number]
        self._told.clear()
        self._staged.clear()
        self._undo.clear()
        self._kept_next = dict(self._next)

    def drop(self) -> None:
        """Forget what was staged; its transaction failed."""
        for known, key in self._undo:
            del known[key]
        self._next = dict(self._kept_next)
        self._told.clear()
        self.keep()


def _all(connection: duckdb.DuckDBPyConnection, table: str, columns: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT {columns} FROM {table}").fetchall()
