"""`joulebook collector`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

import click

from joulebook.cli.options import FileOption, configuration, log_to_stderr
from joulebook.collector import main as program


@click.command()
@FileOption
@click.option("--http", metavar="HOST:PORT", help="Where to serve the page and the HTTP API.")
@click.option("--grpc", metavar="HOST:PORT", help="Where to serve gRPC.")
@click.option(
    "--store",
    metavar="STORE",
    help="The embedded store's file, influxdb://host:port/db or victoriametrics://host:port.",
)
@click.option(
    "--insecure", is_flag=True, default=None, help="Bind other addresses than loopback without TLS."
)
@click.option("--ready-fd", type=int, hidden=True, help="Write the bound addresses there as a line of JSON.")
def collector(config: str | None, ready_fd: int | None, **flags: str | bool | None) -> None:
    """Take in Reports, keep the books and answer questions, until SIGTERM or SIGINT."""
    found = configuration(config, {("collector", name): value for name, value in flags.items()})
    log_to_stderr()

    def ready(addresses: program.Addresses) -> None:
        if ready_fd is not None:
            with os.fdopen(ready_fd, "w") as pipe:
                pipe.write(json.dumps(asdict(addresses)) + "\n")

    sys.exit(program.main(found.collector, found.alerts, ready))
