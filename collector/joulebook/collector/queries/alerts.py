"""Alerts and the rules that make them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joulebook.collector.alerts import wording
from joulebook.collector.alerts.alert import STATES, Alert, AlertBook, Rule
from joulebook.collector.queries.errors import BadValueError, UnknownNameError, expected_name
from joulebook.collector.queries.pages import Page, page


@dataclass(frozen=True, slots=True)
class ToldAlert:
    """An alert with what its rule says of it, and in words."""

    id: str
    rule: str
    severity: str
    state: str
    labels: Mapping[str, str]
    since_us: int
    seen_us: int
    firing_us: int | None
    resolved_us: int | None
    resolution: str
    observed_us: int
    wasted_uj: int | None
    evidence: Mapping[str, int | float | str]
    title: str
    summary: str


def list_alerts(
    book: AlertBook,
    *,
    state: str | None = None,
    rule: str | None = None,
    node: str | None = None,
    job: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[ToldAlert]:
    """Return alerts, the newest first; those in a state, of a rule, of a node or of a job where named.

    Raises UnknownNameError for a rule that is not in force and of which no alert is kept.
    """
    if state is not None and state not in STATES:
        raise BadValueError("state", state, ", ".join(STATES[:-1]) + f" or {STATES[-1]}")
    rules = {one.name: one for one in book.rules()}
    alerts = book.alerts()
    known = rules.keys() | {alert.rule for alert in alerts}
    if rule is not None and rule not in known:
        raise UnknownNameError("rule", rule, expected_name("a rule in force", rule, known))
    found = [
        alert
        for alert in alerts
        if (state is None or alert.state == state)
        and (rule is None or alert.rule == rule)
        and (node is None or alert.labels.get("node") == node)
        and (job is None or alert.labels.get("job") == job)
    ]
    taken = page(found, lambda alert: (-alert.since_us, alert.id), limit, cursor)
    return Page([_told(alert, rules.get(alert.rule)) for alert in taken.items], taken.next_cursor)


def list_rules(book: AlertBook, *, limit: int, cursor: str | None = None) -> Page[Rule]:
    """Return the rules in force, by name."""
    return page(book.rules(), lambda rule: (rule.name,), limit, cursor)


def _told(alert: Alert, rule: Rule | None) -> ToldAlert:
    return ToldAlert(
        id=alert.id,
        rule=alert.rule,
        severity=wording.severity(rule),
        state=str(alert.state),
        labels=alert.labels,
        since_us=alert.since_us,
        seen_us=alert.seen_us,
        firing_us=alert.firing_us,
        resolved_us=alert.resolved_us,
        resolution=alert.resolution,
        observed_us=alert.observed_us,
        wasted_uj=alert.wasted_uj,
        evidence=alert.evidence,
        title=wording.title(rule, alert.rule),
        summary=wording.summary(alert, rule),
    )
