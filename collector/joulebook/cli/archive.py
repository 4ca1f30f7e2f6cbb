"""`joulebook archive`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from joulebook.cli.options import FileOption, configuration, json_option
from joulebook.cli.store import embedded
from joulebook.collector.api.routes import wall_clock_us
from joulebook.collector.main import store_path
from joulebook.collector.queries.errors import BadValueError
from joulebook.collector.queries.times import parse_time
from joulebook.collector.store.protocol import Range, StoreError
from joulebook.collector.units import energy


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--from", "from_time", metavar="TIME", help="From when on: RFC 3339, or like -30d.")
@click.option("--to", "to_time", metavar="TIME", help="Until when.")
@click.option("--store", metavar="FILE", help="The store; a backup's is its store.duckdb.")
@FileOption
@json_option
def archive(
    directory: Path,
    from_time: str | None,
    to_time: str | None,
    store: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Write readings and books into DIRECTORY, a new one, as Parquet that other programs read as it stands.

    A store belongs to one program at a time: while its collector runs, archive a backup of it.
    """
    from joulebook.collector.archive import archive as archives  # noqa: PLC0415  DuckDB
    from joulebook.collector.store.duckdb.file import read_only  # noqa: PLC0415
    from joulebook.collector.store.duckdb.files import Files  # noqa: PLC0415
    from joulebook.collector.store.duckdb.reads import Reads  # noqa: PLC0415

    now_us = wall_clock_us()
    path = embedded(store_path(configuration(config, {("collector", "store"): store}).collector))
    try:
        from_us = parse_time("from", from_time, now_us) if from_time else 0
        to_us = parse_time("to", to_time, now_us) if to_time else now_us
        with read_only(path) as connection:
            made = archives.archive(
                Reads(connection, Files(path)), Range(from_us, to_us), directory.absolute()
            )
    except (archives.ArchiveError, StoreError, BadValueError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(made)))
    else:
        click.echo(
            f"{directory}: {made.samples} samples in {made.bytes >> 10} KiB with {made.ledger} ledger rows, "
            f"{energy(made.booked_uj)} booked; verified"
        )
