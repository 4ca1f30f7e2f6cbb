"""`joulebook jobs` and `joulebook job`."""

from __future__ import annotations

import json

import click

from joulebook.cli.options import json_option, server_option
from joulebook.cli.server import Server
from joulebook.cli.tables import job_tables, show, shown_id, state_of, table
from joulebook.collector.units import duration, energy, power


@click.command()
@server_option
@click.option("--node", help="On this node only.")
@click.option("--user", help="Of this user only.")
@click.option("--account", help="Of this account only.")
@click.option("--state", type=click.Choice(["running", "ended"]), help="In this state only.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most jobs.")
@json_option
def jobs(
    server: str,
    node: str | None,
    user: str | None,
    account: str | None,
    state: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List jobs, the newest first."""
    found = Server(server).every("jobs", limit, node=node, user=user, account=account, state=state)
    if as_json:
        click.echo(json.dumps(found))
        return
    # Who has no scheduler has no use for the column.
    accounts = any(job["account"] for job in found)
    rows = [
        [
            shown_id(job),
            job["name"],
            job["user"],
            *([job["account"] or ""] if accounts else []),
            state_of(job),
            ", ".join(job["nodes"]),
            job["start"],
            duration(job["duration_s"]),
            power(job["average_power_mw"]),
            energy(job["energy_uj"], job["plus_minus_uj"]),
        ]
        for job in found
    ]
    columns = ["job", "name", "user", *(["account"] if accounts else []), "state"]
    columns += ["nodes", "start", "duration", "power", "energy"]
    show(table(columns, rows, right=("duration", "power", "energy")))


@click.command()
@click.argument("id_", metavar="ID")
@server_option
@json_option
def job(id_: str, server: str, as_json: bool) -> None:
    """Show a job's energy, by domain, and how well it is known."""
    found = Server(server).get("jobs", id_)
    if as_json:
        click.echo(json.dumps(found))
    else:
        show(*job_tables(found))
