"""`joulebook backup` and `joulebook restore`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from joulebook.cli.options import FileOption, configuration, json_option, server_option
from joulebook.cli.server import Server, understood
from joulebook.cli.store import embedded
from joulebook.collector.backup.files import beside
from joulebook.collector.backup.manifest import BackupError
from joulebook.collector.main import alerts_path, store_path
from joulebook.collector.queries.errors import BadValueError
from joulebook.collector.queries.times import parse_time, rfc3339
from joulebook.collector.store.protocol import StoreError
from joulebook.collector.units import energy

# Of a store of a terabyte.
_PATIENCE_S = 86_400.0


@click.command()
@click.argument("destination", type=click.Path(path_type=Path))
@server_option
@click.option("--store", metavar="FILE", help="Back up a store that no collector has open.")
@FileOption
@json_option
def backup(destination: Path, server: str, store: str | None, config: str | None, as_json: bool) -> None:
    """Back a collector's books up into DESTINATION, a new directory, while it runs.

    The collector writes it, on its machine and as its user: this is asked where the collector is.
    """
    to = destination.absolute()
    if store is None:
        made = Server(server, timeout_s=_PATIENCE_S).post("backup", {"to": str(to)})
    else:
        found = configuration(config, {("collector", "store"): store})
        made = _taken(embedded(store), to, beside(alerts_path(found.alerts, store)))
    if as_json:
        click.echo(json.dumps(made))
        return
    with understood(server):
        click.echo(
            f"{made['to']}: {made['bytes'] >> 10} KiB, the books of {made['nodes']} nodes, "
            f"{energy(made['booked_uj'])} booked"
        )


def _taken(store: str, to: Path, files: dict[str, str]) -> dict[str, int | str]:
    from joulebook.collector.backup.take import take  # noqa: PLC0415  DuckDB, which asking does not need
    from joulebook.collector.store.duckdb import DuckDBStore  # noqa: PLC0415

    try:
        opened = DuckDBStore(store)
        try:
            manifest = take(opened, to, files, time.time_ns() // 1000)
        finally:
            opened.close()
    except (BackupError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    return {
        "to": str(to),
        "bytes": manifest.total_bytes,
        "schema_version": manifest.schema_version,
        "nodes": len(manifest.booked_uj),
        "booked_uj": sum(manifest.booked_uj.values()),
    }


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--to", "store", metavar="STORE", help="The file to make; else where the configuration says.")
@click.option("--at", metavar="TIME", help="Leave out what Reports that ended later brought.")
@FileOption
def restore(source: Path, store: str | None, at: str | None, config: str | None) -> None:
    """Restore a backup, where nothing is, once its checksums and its books are verified.

    TIME is RFC 3339 or relative, like -2h. Agents send again what is left out only as far as their spools
    still hold it.
    """
    found = configuration(config, {("collector", "store"): store})
    place = Path(store_path(found.collector)).absolute()
    files = beside(alerts_path(found.alerts, str(place)))
    from joulebook.collector.backup import restore as restoring  # noqa: PLC0415  DuckDB

    try:
        at_us = None if at is None else parse_time("at", at, time.time_ns() // 1000)
        done = restoring.restore(source, place, files, at_unix_us=at_us)
    except (BackupError, BadValueError) as error:
        raise click.ClickException(str(error)) from error
    left = (
        "" if at_us is None else f"; {done.left_out} Reports that ended after {rfc3339(at_us)} are left out"
    )
    click.echo(
        f"{place}: restored as of {rfc3339(done.manifest.made_unix_us)}; the accounts have "
        f"{energy(done.booked_uj)}, and the raw readings say the same to the µJ{left}"
    )
