"""`joulebook run`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from joulebook.agent.config import AgentConfig
from joulebook.cli.layers import ConfigError, load
from joulebook.cli.options import FileOption, json_option, server_option
from joulebook.cli.run import run_command
from joulebook.cli.server import Server, ServerError, UnreachableError, understood

# The agent's next Report after the command ended completes the books.
_WAIT_S = 5.0


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@FileOption
@server_option
@click.option("--job", metavar="ID", help="Id in the books, as run.ID; else one is made up.")
@click.option("--name", default="", help="Name in the books; else the command's.")
@click.option("--cpus", type=click.FloatRange(0), default=0.0, help="CPUs that the job holds, used or not.")
@json_option
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="Write the job's JSON there.")
@click.argument("argv", metavar="[--] CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    config: str | None,
    server: str,
    job: str | None,
    name: str,
    cpus: float,
    as_json: bool,
    output: Path | None,
    argv: tuple[str, ...],
) -> None:
    """Run a command as a job and print its energy; exit with the command's status."""
    agent = _agent_config(config)
    result = run_command(
        list(argv),
        job=job,
        name=name,
        cpus=cpus,
        socket_path=agent.socket_to_call(),
        cgroupfs=Path(agent.cgroupfs),
        procfs=Path(agent.procfs),
    )
    try:
        if result.warning:
            _warn(result.warning)
        if result.job_id:
            _tell(Server(server, timeout_s=_WAIT_S), result.job_id, as_json, output)
    except ServerError as error:
        _warn(error.message)
    except Exception as error:  # whatever becomes of the books, the command's status counts
        _warn(f"its energy cannot be shown: {error!r}")
    finally:
        _leave(result.exit_status)


def _agent_config(file: str | None) -> AgentConfig:
    """Return the configuration, or the defaults: a fault in it must not keep the command from running."""
    try:
        return load(Path(file) if file else None).agent
    except ConfigError as error:
        for line in error.errors:
            _warn(line)
        return AgentConfig()


def _tell(server: Server, job_id: str, as_json: bool, output: Path | None) -> None:
    found = _booked(server, job_id)
    if found is None:
        _warn(f"no books of {job_id} yet; ask later with `joulebook job {job_id}`")
        return
    if found["state"] != "ended":
        _warn(f"the books of {job_id} are not complete yet; ask later with `joulebook job {job_id}`")
    text = json.dumps(found) + "\n"
    if output:
        output.write_text(text)
    if as_json:
        sys.stdout.write(text)
        return
    from joulebook.cli.tables import job_tables, show  # noqa: PLC0415  the command is not kept waiting for rich

    show(*job_tables(found), err=True)


def _booked(server: Server, job_id: str) -> dict[str, Any] | None:
    """Return the job once its books are complete, or as they are when it has taken too long."""
    found: dict[str, Any] | None = None
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            found = server.get("jobs", job_id)
        except UnreachableError:
            raise
        except ServerError:  # not known yet
            if time.monotonic() >= until:
                raise
        with understood(server.url):
            is_whole = found is not None and found["state"] == "ended"
        if is_whole or time.monotonic() >= until:
            return found
        time.sleep(0.2)


def _warn(text: str) -> None:
    click.echo(f"joulebook: {text}", err=True)


def _leave(status: int) -> None:
    """End with the command's status, even where the output went nowhere."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
