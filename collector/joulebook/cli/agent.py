"""`joulebook agent`."""

from __future__ import annotations

import json
import sys

import click

from joulebook.agent import main as program
from joulebook.cli.options import FileOption, configuration, json_option, log_to_stderr, roots_options


@click.command()
@FileOption
@click.option("--once", is_flag=True, help="Read one interval, print it and end; no network.")
@json_option
@click.option("--node", help="Name in the books.")
@click.option(
    "--collector",
    metavar="HOST:PORT[,HOST:PORT...]",
    help="The collector's gRPC address; several, the preferred one first.",
)
@roots_options
def agent(config: str | None, once: bool, as_json: bool, **flags: str | None) -> None:
    """Measure this node and stream to a collector, until SIGTERM or SIGINT."""
    found = configuration(config, {("agent", name): value for name, value in flags.items()})
    log_to_stderr()
    if not once:
        sys.exit(program.main(found.agent))
    click.echo(json.dumps(program.once(found.agent), indent=None if as_json else 2))
