"""`joulebook nodes`."""

from __future__ import annotations

import json

import click

from joulebook.cli.options import json_option, server_option
from joulebook.cli.server import Server
from joulebook.cli.tables import show, table
from joulebook.cli.terminal import printable
from joulebook.collector.units import power


@click.command()
@server_option
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Most nodes.")
@json_option
def nodes(server: str, limit: int, as_json: bool) -> None:
    """List nodes and where their power goes now."""
    found = Server(server).every("nodes", limit)
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = []
    for node in found:
        accounts = ", ".join(f"{a['account']} {power(a['power_mw'])}" for a in node["accounts"][:4])
        meters = ", ".join(f"{d['domain']} ({d['source']})" for d in node["domains"])
        rows.append([node["node"], power(node["power_mw"]), accounts, meters, node["last_report"]])
    show(table(["node", "power", "accounts", "domains", "last report"], rows, right=("power",)))
    for node in found:
        for source in node["sources"]:
            if source["state"] in ("unreadable", "suspect"):
                state = f"{node['node']}: {source['name']} is {source['state']}"
                show(printable(f"{state}: {source['reason']}. {source['fix']}"))
