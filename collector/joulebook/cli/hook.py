"""`joulebook hook`: what a scheduler's prolog and epilog run, to tell a collector of their job."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from joulebook.cli.options import server_option
from joulebook.cli.server import Server, ServerError
from joulebook.collector.credentials import CredentialsError, authorization
from joulebook.collector.schedulers.text import told_text

_TEXTS = {
    "user": "SLURM_JOB_USER",
    "account": "SLURM_JOB_ACCOUNT",
    "partition": "SLURM_JOB_PARTITION",
    "name": "SLURM_JOB_NAME",
}


def slurm_prolog(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what Prolog or PrologSlurmctld knows of its job. Raises ValueError outside of them.

    The variables: https://slurm.schedmd.com/prolog_epilog.html.
    """
    return _slurm(environ) | {"state": "RUNNING", "start": environ.get("SLURM_JOB_START_TIME") or "now"}


def slurm_epilog(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what Epilog or EpilogSlurmctld knows of its job. Raises ValueError outside of them."""
    told = _slurm(environ) | {"end": environ.get("SLURM_JOB_END_TIME") or "now"}
    if (status := _exit_status(environ.get("SLURM_JOB_EXIT_CODE2", ""))) is not None:
        told |= {"exit_status": status, "state": "FAILED" if status else "COMPLETED"}
    return told


EVENTS: dict[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
    "slurm-prolog": slurm_prolog,
    "slurm-epilog": slurm_epilog,
}


@click.command()
@click.argument("event", type=click.Choice(sorted(EVENTS)))
@server_option
@click.option(
    "--token-file",
    metavar="FILE",
    envvar="JOULEBOOK_JOBS_TOKEN_FILE",
    default="/etc/joulebook/jobs-token",
    show_default=True,
    show_envvar=True,
    help="Holds the collector's jobs_token.",
)
@click.option("--ca", metavar="FILE", default="", help="PEM file of who signed the collector's certificate.")
@click.option("--timeout", "timeout_s", type=float, default=5.0, show_default=True, help="Seconds, at most.")
def hook(event: str, server: str, token_file: str, ca: str, timeout_s: float) -> None:
    """Tell a collector of the job whose prolog or epilog runs this.

    Whatever happens it exits with 0 and says what is wrong on stderr: a scheduler takes a node out of service
    whose prolog fails, and a job's energy is booked without this too.
    """
    try:
        told = EVENTS[event](os.environ)
        given = authorization(token_file, key="--token-file", token="Bearer")
        Server(server, ca=ca, timeout_s=timeout_s, authorization=given).post("jobs", {"jobs": [told]})
    except (ValueError, OSError, CredentialsError) as error:
        _say(event, str(error))
    except ServerError as error:
        _say(event, error.message)


def _say(event: str, what: str) -> None:
    print(f"joulebook hook {event}: {what}", file=sys.stderr)


def _slurm(environ: Mapping[str, str]) -> dict[str, Any]:
    number = environ.get("SLURM_JOB_ID", "")
    if not number.isdecimal():
        raise ValueError(
            f"SLURM_JOB_ID {number!r}: expected a number, as Slurm's prologs and epilogs have it"
        )
    told: dict[str, Any] = {"job": f"slurm.{number}"}
    told |= {name: told_text(environ[variable]) for name, variable in _TEXTS.items() if environ.get(variable)}
    for first, second, sign in (
        ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "_"),
        ("SLURM_HET_JOB_ID", "SLURM_HET_JOB_OFFSET", "+"),
    ):
        numbers = environ.get(first, ""), environ.get(second, "")
        if all(map(str.isdecimal, numbers)):
            told["known_as"] = sign.join(numbers)
    return told


def _exit_status(code: str) -> int | None:
    """Return what a shell would: the status, or 128 and the signal, of Slurm's STATUS:SIGNAL."""
    status, _, signal = code.partition(":")
    if not (status.isdecimal() and signal.isdecimal()):
        return None
    return int(status) or (128 + int(signal) if int(signal) else 0)
