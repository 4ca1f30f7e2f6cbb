"""`joulebook config`: check, sample, show."""

from __future__ import annotations

import json
from operator import attrgetter

import click
import msgspec

from joulebook.cli.layers import SECTIONS, keys
from joulebook.cli.options import FileOption, configuration, json_option
from joulebook.cli.sample import sample, toml_value


@click.group()
def config() -> None:
    """Check, sample or show the configuration."""


@config.command()
@FileOption
def check(config: str | None) -> None:
    """Say what is wrong with the configuration; exit with 2 if anything is."""
    configuration(config)
    click.echo("the configuration is sound")


@config.command("sample")
def print_sample() -> None:
    """Print a commented sample with every default."""
    click.echo(sample(), nl=False)


@config.command()
@FileOption
@json_option
def show(config: str | None, as_json: bool) -> None:
    """Print the effective values, and where each came from."""
    found = configuration(config)
    values = {
        section: {
            name: (values_of[name], found.origins.get((section, name), "default")) for name in keys(section)
        }
        for section in SECTIONS
        for values_of in (msgspec.to_builtins(attrgetter(section)(found)),)
    }
    if as_json:
        shown = {s: {n: {"value": v, "from": o} for n, (v, o) in own.items()} for s, own in values.items()}
        click.echo(json.dumps(shown))
        return
    for section, own in values.items():
        click.echo(f"[{section}]")
        for name, (value, origin) in own.items():
            click.echo(f"{name} = {toml_value(value)}  # {origin}")
