"""`joulebook nodes`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from joulebook.cli.listing import Column, after_items, in_middle, show_list
from joulebook.cli.options import json_option, server_option, wide_option
from joulebook.cli.server import Server, understood
from joulebook.cli.tables import show
from joulebook.cli.terminal import printable
from joulebook.collector.units import power

# What gives way to a narrow terminal, in this order.
_LEAVE_OUT = ("last report", "domains", "last report", "accounts")


@click.command()
@server_option
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Most nodes.")
@wide_option
@json_option
def nodes(server: str, limit: int, wide: bool, as_json: bool) -> None:
    """List nodes and where their power goes now, a line each.

    A narrow terminal shows the largest accounts and how many there are besides, then leaves out, in this
    order: seconds, the domains, the last report, the accounts. With --wide, and where there is no terminal,
    lines are whole.
    """
    found = Server(server).every("nodes", limit)
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found:
        show("no nodes")
    with understood(server):
        if found:
            show_list(node_columns(found), wide=wide, shorten=("last report",), leave_out=_LEAVE_OUT)
        for node in found:
            for source in node["sources"]:
                if source["state"] in ("unreadable", "suspect"):
                    state = f"{node['node']}: {source['name']} is {source['state']}"
                    show(printable(f"{state}: {source['reason']}. {source['fix']}"))


def node_columns(found: Sequence[dict[str, Any]]) -> list[Column]:
    """Return the columns of a list of nodes, by the forms that they may have."""
    accounts = [", ".join(f"{a['account']} {power(a['power_mw'])}" for a in n["accounts"]) for n in found]
    meters = [", ".join(f"{d['domain']} ({d['source']})" for d in n["domains"]) for n in found]
    heard = [node["last_report"] for node in found]
    return [
        Column("node", [[node["node"] for node in found]], least=32, cut=in_middle),
        Column("power", [[power(node["power_mw"]) for node in found]], right=True),
        Column("accounts", [accounts], least=56, cut=after_items),
        Column("domains", [meters], least=24, cut=after_items),
        Column("last report", [heard, [f"{at[:19]}Z" for at in heard], [f"{at[5:16]}Z" for at in heard]]),
    ]
