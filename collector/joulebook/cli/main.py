"""The command `joulebook`: which commands there are, and where each one lives."""

from __future__ import annotations

import os
from importlib import import_module

import click

# Whatever the collector solves is small: for that, threads only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Name → where the command is, and what it does. Nothing of it is imported before it is called for.
_COMMANDS = {
    "up": ("joulebook.cli.up:up", "Start a collector and an agent on this machine."),
    "agent": ("joulebook.cli.agent:agent", "Measure this node and stream to a collector."),
    "collector": ("joulebook.cli.collector:collector", "Take in Reports, keep the books, answer questions."),
    "run": ("joulebook.cli.runner:run", "Run a command as a job and print its energy."),
    "jobs": ("joulebook.cli.jobs:jobs", "List jobs, the newest first."),
    "job": ("joulebook.cli.jobs:job", "Show a job's energy."),
    "hook": ("joulebook.cli.hook:hook", "Tell a collector of a job, from a scheduler's prolog or epilog."),
    "nodes": ("joulebook.cli.nodes:nodes", "List nodes and where their power goes now."),
    "alerts": (
        "joulebook.cli.alerts:alerts",
        "List alerts: waste, silent agents, books that are off.",
    ),
    "doctor": (
        "joulebook.cli.doctor:doctor",
        "Check what of this machine can be measured, and how to mend it.",
    ),
    "store": ("joulebook.cli.store:store", "Prepare a store, bring it to this version, or check its books."),
    "backup": ("joulebook.cli.backup:backup", "Back a collector's books up while it runs."),
    "restore": ("joulebook.cli.backup:restore", "Restore a backup, and verify its books."),
    "rebill": ("joulebook.cli.rebill:rebill", "Book past hours anew by another policy."),
    "archive": ("joulebook.cli.archive:archive", "Write readings and books as Parquet for other programs."),
    "config": ("joulebook.cli.configuration:config", "Check, sample or show the configuration."),
    "completion": ("joulebook.cli.completion:completion", "Print shell completion."),
}


class _Commands(click.Group):
    """Commands that are imported when they are called, so that the agent never loads the collector."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        try:
            found = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("joulebook"):
                raise
            raise click.ClickException(
                f"`joulebook {cmd_name}` needs {error.name}, which is not installed: "
                "pip install 'joulebook[collector]'"
            ) from error
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing a command."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="joulebook", prog_name="joulebook", message="%(prog)s %(version)s")
def main() -> None:
    """Keep the energy books of a cluster: every measured joule booked to a job, the system or idle."""


if __name__ == "__main__":
    main()
