"""`joulebook rebill`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from joulebook.cli.options import FileOption, configuration, json_option
from joulebook.cli.store import embedded
from joulebook.cli.tables import show, table
from joulebook.collector.api.routes import wall_clock_us
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.main import store_path
from joulebook.collector.queries.errors import BadValueError
from joulebook.collector.queries.times import parse_range, rfc3339
from joulebook.collector.store.protocol import Range, StoreError
from joulebook.collector.units import energy

# Accounts that are shown; all are in --json.
_MOST_SHOWN = 20


@click.command()
@click.option(
    "--policy",
    type=click.Choice([one.value for one in Policy]),
    required=True,
    help="Who pays for idle floors.",
)
@click.option(
    "--from", "from_time", metavar="TIME", required=True, help="From which whole hour on: RFC 3339."
)
@click.option("--to", "to_time", metavar="TIME", required=True, help="Until which whole hour.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--store", metavar="FILE", help="The store; no collector may have it open.")
@FileOption
@json_option
def rebill(
    policy: str,
    from_time: str,
    to_time: str,
    dry_run: bool,
    store: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Book past hours anew, from their readings, by another policy.

    What a job that has ended was said to have drawn is kept as a superseded revision. What comes late for
    these hours is booked by their policy too; for hours to come set collector.policy.
    """
    from joulebook.collector.store.duckdb import DuckDBStore  # noqa: PLC0415
    from joulebook.collector.store.duckdb.rebilling import Rebilling  # noqa: PLC0415

    path = embedded(store_path(configuration(config, {("collector", "store"): store}).collector))
    try:
        from_us, to_us = parse_range(from_time, to_time, wall_clock_us())
        books = DuckDBStore(path)
        try:
            rebilling = Rebilling(books, Policy(policy), Range(from_us, to_us), dry=dry_run)
            for done in rebilling.steps():
                if sys.stderr.isatty():
                    click.echo(f"\r{done} of {len(rebilling.hours)} hours", nl=False, err=True)
            accounts = rebilling.accounts()
        finally:
            books.close()
    except (StoreError, BadValueError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        told = {"policy": policy, "dry_run": dry_run, "hours": len(rebilling.hours)}
        click.echo(json.dumps(told | {"accounts": [asdict(one) for one in accounts]}))
        return
    rows = [
        [
            one.account,
            energy(one.before_uj),
            energy(one.after_uj),
            f"{'+' if one.after_uj >= one.before_uj else '-'}{energy(abs(one.after_uj - one.before_uj))}",
        ]
        for one in accounts[:_MOST_SHOWN]
    ]
    count = len(rebilling.hours)
    hours = f"{count} hour{'' if count == 1 else 's'} from {rfc3339(from_us)} to {rfc3339(to_us)}"
    show(
        table(["account", "before", "after", "change"], rows, right=("before", "after", "change")),
        *([f"and {len(accounts) - _MOST_SHOWN} accounts more"] if len(accounts) > _MOST_SHOWN else []),
        f"{hours} {'would be' if dry_run else 'are'} booked by {policy!r}",
    )
