"""Write an archive: readings and books of a range, day by day, verified once they are there."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import duckdb

from joulebook.collector.archive import readings
from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.figures import ENERGIES, FIGURES
from joulebook.collector.queries.times import rfc3339
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.protocol import Range
from joulebook.v1.catalogue import catalogue

_HOUR_US = 3_600_000_000
# Of a row's energy, what of it was what, and how sure it is.
_DETAILS = FIGURES[len(ENERGIES) :]


class ArchiveError(Exception):
    """An archive that was not made, and why."""


@dataclass(frozen=True, slots=True)
class Archived:
    """What an archive holds: rows and samples of readings, rows of the ledger, µJ booked, and bytes."""

    readings: int
    samples: int
    ledger: int
    booked_uj: int
    bytes: int


def archive(view: Reads, selected: Range, directory: Path) -> Archived:
    """Write what ended in a range into a directory that is not there yet. Raises ArchiveError."""
    if directory.exists():
        raise ArchiveError(f"archive {directory}: is there already; name a directory that is not")
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        with view.snapshot() as frozen:
            _check_rows(frozen, selected, directory)
            written = readings.write(frozen, selected, partial / "readings")
            rows, booked_uj = _write_ledger(frozen, selected, partial / "ledger")
            _write_jobs(frozen, partial / "jobs.parquet")
        size = sum(file.stat().st_size for file in partial.rglob("*.parquet"))
        made = Archived(written.rows, written.samples, rows, booked_uj, size)
        _verify(partial, made, written.energy_uj)
        _describe(partial, selected, made)
        partial.rename(directory)
    except (duckdb.Error, OSError) as error:
        raise ArchiveError(f"archive {directory}: not made ({error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return made


def _check_rows(view: Reads, selected: Range, directory: Path) -> None:
    """Refuse a range of which rows of the ledger are forgotten. Raises ArchiveError."""
    rows_us = view.books_kept().rows_us
    if selected.from_us < rows_us:
        hours_us = selected.from_us // _HOUR_US * _HOUR_US, -(-selected.to_us // _HOUR_US) * _HOUR_US
        before = replace(selected, from_us=hours_us[0], to_us=min(hours_us[1], rows_us))
        if view.watched(before):
            raise ArchiveError(
                f"archive {directory}: rows of the ledger that ended up to {rfc3339(rows_us)} are forgotten "
                "(collector.retention_ledger_days); name a --from that is not before"
            )


def _write_ledger(view: Reads, selected: Range, directory: Path) -> tuple[int, int]:
    """Write the ledger's rows; return how many, and what the accounts have by the store's own answer."""
    where, parameters = view._where(selected)
    classes = [f"{name}_{part}_uj" for name in CLASSES for part in ("active", "idle")]
    columns = ", ".join([*classes, *_DETAILS])
    directory.mkdir()
    gaps = ", ".join(
        [*(f"{name}_active_uj, 0 AS {name}_idle_uj" for name in CLASSES)]
        + [f"0 AS {name}" for name in _DETAILS]
    )
    # Gaps have a table of their own; those without energy have no row.
    booked = f"""
        (SELECT node_id, account, end_unix_us, duration_us, {columns}
         FROM ledger JOIN accounts USING (account_id)
         UNION ALL
         SELECT node_id, 'unattributed', end_unix_us, duration_us, {gaps} FROM gap_ledger
         WHERE {" + ".join(f"{name}_active_uj" for name in CLASSES)} > 0)
        JOIN nodes USING (node_id) WHERE {where}
    """
    rows = view._rows(f"SELECT count(*) FROM {booked}", parameters)
    if rows[0][0]:
        view._rows(
            f"""
            COPY (
                SELECT node, account, end_unix_us, duration_us, {columns},
                       strftime(make_timestamp(end_unix_us - 1), '%Y-%m-%d') AS day
                FROM {booked} ORDER BY node, end_unix_us, account)
            TO {_quoted(directory)} (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (day))
            """,
            parameters,
        )
    booked_uj = sum(sum(row.active_uj) + sum(row.idle_uj) for row in view.accounts(selected))
    return int(rows[0][0]), booked_uj


def _write_jobs(view: Reads, file: Path) -> None:
    view._rows(
        f"""
        COPY (
            SELECT job, node, source, name, user_name AS user, start_unix_us, e.end_unix_us, e.exit_status
            FROM jobs JOIN nodes USING (node_id) LEFT JOIN (
                SELECT job, node_id, max(end_unix_us) AS end_unix_us,
                       arg_max(exit_status, end_unix_us) AS exit_status FROM job_ends GROUP BY ALL) AS e
                USING (job, node_id) ORDER BY job, node)
        TO {_quoted(file)} (FORMAT parquet, COMPRESSION zstd)
        """
    )


def _verify(directory: Path, made: Archived, energy_uj: int) -> None:
    """Read an archive as anybody would, and compare with the books. Raises ArchiveError."""
    energy = " + ".join(f"{name}_{part}_uj::HUGEINT" for name in CLASSES for part in ("active", "idle"))
    with duckdb.connect() as connection:

        def found(what: str, kind: str, has: int) -> tuple[int, ...]:
            place = _quoted(directory / kind / "*" / "*.parquet")
            rows = connection.execute(f"SELECT {what} FROM read_parquet({place})").fetchall() if has else [()]
            return tuple(int(value or 0) for value in rows[0])

        read = "count(*), sum(len(values)), sum(list_sum(values)::HUGEINT) FILTER (metric = 'energy_uj')"
        expected = {
            "readings": (made.readings, made.samples, energy_uj) if made.readings else (),
            "ledger": (made.ledger, made.booked_uj) if made.ledger else (),
        }
        there = {
            "readings": found(read, "readings", made.readings),
            "ledger": found(f"count(*), sum({energy})", "ledger", made.ledger),
        }
    if there != expected:
        raise ArchiveError(f"archive {directory}: holds {there}, expected {expected}; it was not kept")


def _describe(directory: Path, selected: Range, made: Archived) -> None:
    """Say what is in an archive, for people and for programs."""
    readme = resources.files("joulebook.collector.archive").joinpath("README.in.md").read_text()
    (directory / "README.md").write_text(readme)
    metrics = {
        entry.name: {
            "unit": entry.unit,
            "kind": "counter" if entry.is_counter else "gauge",
            "help": entry.help,
        }
        for entry in catalogue().values()
    }
    manifest = {
        "from_unix_us": selected.from_us,
        "to_unix_us": selected.to_us,
        "readings_rows": made.readings,
        "samples": made.samples,
        "ledger_rows": made.ledger,
        "booked_uj": made.booked_uj,
        "metrics": metrics,
    }
    (directory / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
