"""`joulebook alerts`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from joulebook.cli.listing import Column, in_middle, show_list
from joulebook.cli.options import json_option, server_option, wide_option
from joulebook.cli.server import Server, understood
from joulebook.cli.tables import show
from joulebook.collector.alerts import wording
from joulebook.collector.alerts.alert import STATES, State
from joulebook.collector.units import energy

# What needs somebody comes first.
_ORDER = (State.FIRING, State.PENDING, State.RESOLVED)

# What gives way to a narrow terminal, in this order.
_LEAVE_OUT = ("since", "what", "since", "wasted", "for")


@click.command()
@server_option
@click.option("--state", type=click.Choice([str(state) for state in STATES]), help="In this state only.")
@click.option("--rule", help="Of this rule only.")
@click.option("--node", help="Of this node only.")
@click.option("--job", help="Of this job only.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most alerts.")
@wide_option
@json_option
def alerts(
    server: str,
    state: str | None,
    rule: str | None,
    node: str | None,
    job: str | None,
    limit: int,
    wide: bool,
    as_json: bool,
) -> None:
    """List alerts: what fires, what may come to fire, what was resolved; the newest of each first.

    A narrow terminal leaves out, in this order: what was read, the time, what was wasted, for how long. With
    --wide, and where there is no terminal, lines are whole.
    """
    collector = Server(server)
    # By its id: one may go from one state to the next between the questions.
    found: dict[str, dict[str, Any]] = {}
    for each in [state] if state else _ORDER:
        if (left := limit - len(found)) > 0:
            some = collector.every("alerts", left, state=each, rule=rule, node=node, job=job)
            with understood(server):
                found |= {alert["id"]: alert for alert in some}
    if as_json:
        click.echo(json.dumps([*found.values()]))
        return
    if found:
        with understood(server):
            show_list(alert_columns([*found.values()]), wide=wide, shorten=("since",), leave_out=_LEAVE_OUT)
    else:
        show("no alerts")


def alert_columns(found: Sequence[dict[str, Any]]) -> list[Column]:
    """Return the columns of a list of alerts, by the forms that they may have."""
    wasted = ["–" if alert["wasted_uj"] is None else energy(alert["wasted_uj"]) for alert in found]
    told = [(wording.evidence(alert["evidence"]), alert["resolution"]) for alert in found]
    return [
        Column("state", [[alert["state"] for alert in found]]),
        Column("rule", [[alert["rule"] for alert in found]], least=16),
        Column("where", [[wording.where(alert["labels"]) for alert in found]], least=64, cut=in_middle),
        Column("since", [[f"{a['since'][:n]}Z" for a in found] for n in (19, 16)]),
        Column("for", [[wording.span(_length_us(alert)) for alert in found]], right=True),
        Column("wasted", [wasted], right=True),
        Column("what", [["; ".join(filter(None, each)) for each in told]], least=24),
    ]


def _length_us(alert: dict[str, Any]) -> int:
    end = datetime.fromisoformat(alert["resolved"] or alert["seen"])
    return (end - datetime.fromisoformat(alert["since"])) // timedelta(microseconds=1)
