"""What was written into each file of a block, so that damage is told from what was stored."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import duckdb


def step(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Note the size and SHA-256 of every file that is there; a file that is not is noted as empty."""
    connection.execute("CREATE TABLE block_files (block_id INTEGER, kind VARCHAR, bytes BIGINT, sha256 BLOB)")
    rows = connection.execute("SELECT block_id, hour, has_raw, has_minutes FROM blocks").fetchall()
    for block, hour, has_raw, has_minutes in rows:
        day = time.strftime("%Y-%m-%d", time.gmtime(hour * 3600))
        for kind, there in (("readings", has_raw), ("reports", has_raw), ("minutes", has_minutes)):
            file = Path(f"{path}.blocks", kind, f"day={day}", f"{block:08d}.parquet")
            if there:
                content = file.read_bytes() if file.is_file() else b""
                digest = hashlib.sha256(content).digest()
                connection.execute(
                    "INSERT INTO block_files VALUES (?, ?, ?, ?)", [block, kind, len(content), digest]
                )
