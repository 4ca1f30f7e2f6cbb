"""`joulebook store`: prepare a store, and bring it to this version."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from joulebook.cli.options import FileOption, configuration, json_option
from joulebook.cli.tables import show, table
from joulebook.collector.config import CollectorConfig
from joulebook.collector.main import facts_path, store_path
from joulebook.collector.store.influxdb_address import EXPECTED, InfluxAddress, is_influxdb
from joulebook.collector.store.protocol import StoreError
from joulebook.collector.store.victoriametrics.address import is_victoriametrics

if TYPE_CHECKING:
    from joulebook.collector.store.influxdb_http import InfluxServer

_UNITS = {"h": 3600, "d": 86_400, "w": 604_800}


@click.group()
def store() -> None:
    """Prepare a store, bring it to this version, check its books."""


@store.command()
@FileOption
@click.option("--store", metavar="ADDRESS", help=f"The store: {EXPECTED}.")
@click.option(
    "--retention",
    metavar="TIME",
    default="0d",
    show_default=True,
    help="How long readings and books are kept, like 400d; 0d: for ever.",
)
@click.option("--org", metavar="NAME", default="", help="The organisation, for InfluxDB 2.")
def setup(config: str | None, store: str | None, retention: str, org: str) -> None:
    """Make the database or bucket, its retention and, for InfluxDB 2, the mapping for InfluxQL."""
    found = configuration(config, {("collector", "store"): store}).collector
    place = store_path(found)
    if not is_influxdb(place):
        click.echo(f"store {place}: a file; the collector makes it, nothing to set up")
        return
    retention_s = _seconds(retention)
    with _influxdb(found, place) as server:
        from joulebook.collector.store.influxdb_setup import setup as make  # noqa: PLC0415  an extra

        click.echo(f"store {place}: {server.writes_by()}")
        done = make(server, retention_s=retention_s, org=org)
    for line in done or [f"store {place}: everything is there already"]:
        click.echo(line)


@store.command()
@FileOption
@click.option("--store", metavar="FILE", help="The embedded store's file.")
@click.option(
    "--check", is_flag=True, help="Say what would be done, and do nothing; exit with 1 if it is due."
)
def migrate(config: str | None, store: str | None, check: bool) -> None:
    """Bring an embedded store's tables to this version, after a backup, as a collector does at its start."""
    path = embedded(store_path(configuration(config, {("collector", "store"): store}).collector))
    # DuckDB is not loaded for `store setup`.
    from joulebook.collector.store.duckdb import file as duckdb_file  # noqa: PLC0415
    from joulebook.collector.store.duckdb.migrations import migration  # noqa: PLC0415

    try:
        with duckdb_file.opened(path) as connection:
            planned = migration.plan(connection, path)
            if not planned.steps:
                click.echo(f"store {path}: tables of version {planned.found}, the newest; nothing to do")
                return
            click.echo(
                f"store {path}: tables of version {planned.found} become version {planned.newest}; "
                f"about {planned.about_s:.0f} s, {planned.needed_bytes >> 20} MiB of room, "
                f"{planned.free_bytes >> 20} MiB are free"
            )
            for step in planned.steps:
                click.echo(f"  {step.version:04d} {step.what}")
            if check:
                sys.exit(1)
            click.echo(f"done; the backup is in {migration.prepare(connection, path)}")
    except StoreError as error:
        raise click.ClickException(str(error)) from error


@store.command()
@FileOption
@click.option("--store", metavar="FILE", help="The embedded store's file.")
def compact(config: str | None, store: str | None) -> None:
    """Give back the room that forgotten rows left in an embedded store's file. Stop its collector first."""
    path = embedded(store_path(configuration(config, {("collector", "store"): store}).collector))
    from joulebook.collector.store.duckdb.compacting import compact as make_small  # noqa: PLC0415  DuckDB

    try:
        made = make_small(Path(path))
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"store {path}: {made.before_bytes >> 20} MiB became {made.after_bytes >> 20} MiB")


@store.command()
@FileOption
@click.option("--store", metavar="STORE", help="The store: a file, or a server's address.")
@click.option("--replay", is_flag=True, help="Book all raw readings again and compare bit for bit.")
@json_option
def check(config: str | None, store: str | None, replay: bool, as_json: bool) -> None:
    """Recompute every node's energy from its raw readings, day by day; exit with 1 where anything differs.

    Of an embedded store also rows below 0, and rows that belong to nothing. Stop its collector first, or
    check a backup: the file belongs to one program at a time.
    """
    found = configuration(config, {("collector", "store"): store}).collector
    place = store_path(found)
    if is_influxdb(place) and not as_json:
        with _influxdb(found, place) as server:
            click.echo(f"store {place}: {server.writes_by()}")
    from joulebook.collector.check.books import checked  # noqa: PLC0415

    try:
        findings = checked(found, place, facts_path(found), replay=replay)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([finding.row() for finding in findings]))
    elif not findings:
        click.echo(f"store {place}: the books are what the raw readings make")
    else:
        rows = [list(finding.row().values()) for finding in findings]
        show(table(["check", "node", "day", "found", "expected"], rows))
    if findings:
        sys.exit(1)


@contextmanager
def _influxdb(found: CollectorConfig, place: str) -> Iterator[InfluxServer]:
    """Reach a server, and put what is wrong with it in a command's words."""
    try:
        from joulebook.collector.store.credentials import authorization  # noqa: PLC0415
        from joulebook.collector.store.influxdb_http import InfluxServer  # noqa: PLC0415  an extra

        server = InfluxServer(InfluxAddress.parse(place), authorization(found.store_credentials))
        try:
            yield server
        finally:
            server.close()
    except ModuleNotFoundError as error:
        if error.name != "influxdb_client":
            raise
        raise click.ClickException(
            "influxdb-client is not installed: pip install 'joulebook[collector,influxdb]'"
        ) from error
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def embedded(place: str) -> str:
    """Return the path of an embedded store that is there, or say what is not."""
    if is_influxdb(place) or is_victoriametrics(place):
        raise click.ClickException(f"store {place}: a server's; this is for embedded stores, which are files")
    if not Path(place).is_file():
        raise click.ClickException(f"store {place}: no such file; name one with --store")
    return place


def _seconds(retention: str) -> int:
    parsed = re.fullmatch(r"([0-9]{1,6})([hdw])", retention)
    if not parsed:
        raise click.UsageError(f"--retention {retention!r}: expected a number and h, d or w, like 400d")
    seconds = int(parsed[1]) * _UNITS[parsed[2]]
    if 0 < seconds < 3600:
        raise click.UsageError(f"--retention {retention!r}: expected at least 1h")
    return seconds
