"""Options that commands share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from joulebook.cli.layers import ConfigError, Configuration, Key, load

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_SERVER = "http://127.0.0.1:8460"

FileOption = click.option(
    "--config", metavar="FILE", help="Configuration file; else $JOULEBOOK_CONFIG, else /etc/joulebook's."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
wide_option = click.option("--wide", is_flag=True, help="Whole lines, however narrow the terminal is.")
server_option = click.option(
    "--server",
    metavar="URL",
    envvar="JOULEBOOK_SERVER",
    default=DEFAULT_SERVER,
    show_default=True,
    show_envvar=True,
    help="Where the collector's HTTP API is.",
)


def roots_options(command: F) -> F:
    """Add the options that say where the kernel's file systems are, for containers and captured trees."""
    for name, what in (
        ("devfs", "the device files are"),
        ("cgroupfs", "the cgroup hierarchy is mounted"),
        ("sysfs", "sysfs is mounted"),
        ("procfs", "procfs is mounted"),
    ):
        command = click.option(f"--{name}", metavar="DIR", help=f"Where {what}.")(command)
    return command


def configuration(file: str | None, flags: Mapping[Key, Any] | None = None) -> Configuration:
    """Load the configuration, or say all that is wrong with it and exit with 2."""
    try:
        return load(Path(file) if file else None, flags, os.environ)
    except ConfigError as error:
        for line in error.errors:
            click.echo(f"joulebook: {line}", err=True)
        sys.exit(2)


def log_to_stderr() -> None:
    """Write what the programs log to stderr, a line each."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    # uvicorn says again what the collector says itself.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # httpx tells of every request that it makes.
    logging.getLogger("httpx").setLevel(logging.WARNING)
