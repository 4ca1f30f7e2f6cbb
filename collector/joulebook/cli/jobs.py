"""`joulebook jobs` and `joulebook job`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import click

from joulebook.cli.hostlist import counted
from joulebook.cli.listing import Column, before_last_word, in_middle, show_list
from joulebook.cli.options import json_option, server_option, wide_option
from joulebook.cli.server import Server, understood
from joulebook.cli.tables import job_tables, short_state_of, show, shown_id, state_of
from joulebook.collector.units import duration, energy, power

_DAYS = re.compile(" days?, ")
# What gives way to a narrow terminal, in this order.
_SHORTEN = ("start", "duration")
_LEAVE_OUT = (
    *("state", "start", "account", "start", "energy", "user"),
    *("nodes", "duration", "nodes", "power", "state", "name"),
)


@click.command()
@server_option
@click.option("--node", help="On this node only.")
@click.option("--user", help="Of this user only.")
@click.option("--account", help="Of this account only, as the scheduler told it.")
@click.option("--partition", help="Of this partition or queue only, as the scheduler told it.")
@click.option("--name", help="Of this name only; a pod's is NAMESPACE/POD.")
@click.option("--state", type=click.Choice(["running", "ended"]), help="In this state only.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most jobs.")
@wide_option
@json_option
def jobs(
    server: str,
    node: str | None,
    user: str | None,
    account: str | None,
    partition: str | None,
    name: str | None,
    state: str | None,
    limit: int,
    wide: bool,
    as_json: bool,
) -> None:
    """List jobs, the newest first, a line each.

    A narrow terminal shows times to the second and cuts names, then leaves out, in this order: how jobs ended
    in more words, seconds, the account, the start, the ±, the user, which nodes they are, the duration, how
    many nodes, the power, the state, the name. With --wide, and where there is no terminal, lines are whole.
    """
    asked = {
        **{"node": node, "user": user, "account": account, "partition": partition},
        **{"name": name, "state": state},
    }
    found = Server(server).every("jobs", limit, **asked)
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found:
        show("no jobs")
        return
    with understood(server):
        show_list(job_columns(found), wide=wide, shorten=_SHORTEN, leave_out=_LEAVE_OUT)


def job_columns(found: Sequence[dict[str, Any]]) -> list[Column]:
    """Return the columns of a list of jobs, by the forms that they may have."""
    starts = [job["start"] for job in found]
    energies = [energy(job["energy_uj"], job["plus_minus_uj"]) for job in found]
    lengths = [duration(job["duration_s"]) for job in found]
    nodes_ = [counted(job["nodes"]) for job in found]
    return [
        Column("job", [[shown_id(job) for job in found]], least=48, cut=in_middle),
        Column("name", [[job["name"] for job in found]], least=16),
        Column("user", [[job["user"] for job in found]], least=8),
        Column("account", [[job["account"] or "" for job in found]], least=8),
        Column("state", [[*map(state_of, found)], [*map(short_state_of, found)]], least=9),
        Column("nodes", [nodes_, [str(len(job["nodes"])) for job in found]], least=18, cut=before_last_word),
        Column("start", [starts, [f"{at[:19]}Z" for at in starts], [f"{at[5:16]}Z" for at in starts]]),
        Column("duration", [lengths, [_DAYS.sub("d ", length) for length in lengths]], right=True),
        Column("power", [[power(job["average_power_mw"]) for job in found]], right=True),
        Column("energy", [energies, [energy(job["energy_uj"]) for job in found]], right=True),
    ]


@click.command()
@click.argument("id_", metavar="ID")
@server_option
@json_option
def job(id_: str, server: str, as_json: bool) -> None:
    """Show a job's energy, by domain, and how well it is known."""
    found = Server(server).get("jobs", id_)
    if as_json:
        click.echo(json.dumps(found))
    else:
        with understood(server):
            show(*job_tables(found))
