"""`joulebook doctor`."""

from __future__ import annotations

import json
import sys

import click

from joulebook.agent import main as program
from joulebook.cli.options import FileOption, configuration, json_option, server_option
from joulebook.cli.server import Server, ServerError
from joulebook.cli.tables import show, table


@click.command()
@FileOption
@server_option
@json_option
def doctor(config: str | None, server: str, as_json: bool) -> None:
    """Check what of this machine can be measured, how to mend it, and whether the collector answers."""
    sources = program.doctor(configuration(config).agent)
    reason = ""
    try:
        Server(server, timeout_s=5.0).get("nodes", limit=1)
    except ServerError as error:
        reason = error.message
    reachable = not reason
    if as_json:
        collector = {"url": server, "reachable": reachable, "reason": reason}
        click.echo(json.dumps({"sources": sources, "collector": collector}))
    else:
        columns = ["source", "state", "reason", "fix", "took"]
        rows = [[s["name"], s["state"], s["reason"], s["fix"], _took(s["duration_us"])] for s in sources]
        show(table(columns, rows, right=("took",)), f"collector {server}: {reason or 'answers'}")
    sys.exit(0 if reachable else 1)


def _took(duration_us: int | None) -> str:
    return "" if duration_us is None else f"{duration_us / 1000:.1f} ms"
