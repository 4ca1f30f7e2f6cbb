"""`joulebook store`: what a store needs before a collector can use it."""

from __future__ import annotations

import re

import click

from joulebook.cli.options import FileOption, configuration
from joulebook.collector.main import store_path
from joulebook.collector.store.influxdb_address import EXPECTED, InfluxAddress, is_influxdb
from joulebook.collector.store.protocol import StoreError

_UNITS = {"h": 3600, "d": 86_400, "w": 604_800}


@click.group()
def store() -> None:
    """Prepare a store."""


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
    try:
        from joulebook.collector.store.credentials import authorization  # noqa: PLC0415
        from joulebook.collector.store.influxdb_http import InfluxServer  # noqa: PLC0415  an extra
        from joulebook.collector.store.influxdb_setup import setup as make  # noqa: PLC0415

        server = InfluxServer(InfluxAddress.parse(place), authorization(found.store_credentials))
        try:
            done = make(server, retention_s=_seconds(retention), org=org)
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
    for line in done or [f"store {place}: everything is there already"]:
        click.echo(line)


def _seconds(retention: str) -> int:
    parsed = re.fullmatch(r"([0-9]{1,6})([hdw])", retention)
    if not parsed:
        raise click.UsageError(f"--retention {retention!r}: expected a number and h, d or w, like 400d")
    seconds = int(parsed[1]) * _UNITS[parsed[2]]
    if 0 < seconds < 3600:
        raise click.UsageError(f"--retention {retention!r}: expected at least 1h")
    return seconds
