"""`joulebook alerts`."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import click

from joulebook.cli.options import json_option, server_option
from joulebook.cli.server import Server
from joulebook.cli.tables import show, table
from joulebook.collector.alerts import wording
from joulebook.collector.alerts.alert import STATES, State
from joulebook.collector.units import energy

# What needs somebody comes first.
_ORDER = (State.FIRING, State.PENDING, State.RESOLVED)


@click.command()
@server_option
@click.option("--state", type=click.Choice([str(state) for state in STATES]), help="In this state only.")
@click.option("--rule", help="Of this rule only.")
@click.option("--node", help="Of this node only.")
@click.option("--job", help="Of this job only.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most alerts.")
@json_option
def alerts(
    server: str,
    state: str | None,
    rule: str | None,
    node: str | None,
    job: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List alerts: what fires, what may come to fire, what was resolved; the newest of each first."""
    collector = Server(server)
    # By its id: one may go from one state to the next between the questions.
    found: dict[str, dict[str, Any]] = {}
    for each in [state] if state else _ORDER:
        if (left := limit - len(found)) > 0:
            some = collector.every("alerts", left, state=each, rule=rule, node=node, job=job)
            found |= {alert["id"]: alert for alert in some}
    if as_json:
        click.echo(json.dumps([*found.values()]))
        return
    rows = [
        [
            alert["state"],
            alert["rule"],
            wording.where(alert["labels"]),
            f"{alert['since'][:19]}Z",
            wording.span(_length_us(alert)),
            "–" if alert["wasted_uj"] is None else energy(alert["wasted_uj"]),
            "; ".join(part for part in (wording.evidence(alert["evidence"]), alert["resolution"]) if part),
        ]
        for alert in found.values()
    ]
    columns = ["state", "rule", "where", "since", "for", "wasted", "what"]
    show(table(columns, rows, right=("for", "wasted")) if rows else "no alerts")


def _length_us(alert: dict[str, Any]) -> int:
    end = datetime.fromisoformat(alert["resolved"] or alert["seen"])
    return (end - datetime.fromisoformat(alert["since"])) // timedelta(microseconds=1)
