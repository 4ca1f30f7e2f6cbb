"""Alerts as Alertmanager's API v2 takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from joulebook.collector.alerts import wording
from joulebook.collector.alerts.alert import Alert, AlertBook, Rule, State
from joulebook.collector.queries.times import rfc3339

# So long after its end an alert is sent as resolved, as Alertmanager's documentation asks.
RESOLVED_US = 300_000_000
# A firing alert that is not sent again ends by itself after so many periods: its collector is dead.
LIVES_PERIODS = 4
# As many as Prometheus sends at once.
MAX_BATCH = 256

Notification = dict[str, Any]


def current(alerts: Sequence[Alert]) -> list[Alert]:
    """Return the newest episode of each subject that ever fired, pending ones aside.

    Alertmanager knows a subject, not its episodes: an old end would end the new one.
    """
    newest: dict[str, Alert] = {}
    for alert in alerts:
        if alert.state is State.PENDING or alert.firing_us is None:
            continue
        known = newest.get(alert.fingerprint)
        if known is None or _order(alert) > _order(known):
            newest[alert.fingerprint] = alert
    return list(newest.values())


def _order(alert: Alert) -> tuple[int, bool]:
    return alert.since_us, alert.state is State.FIRING


def labels(alert: Alert, rule: Rule | None) -> dict[str, str]:
    """Return what an alert is known by. Never a figure: another label is another alert."""
    name = "".join(part.capitalize() for part in alert.rule.split("_"))
    return {**alert.labels, "alertname": name, "severity": wording.severity(rule)}


def notification(
    alert: Alert,
    rule: Rule | None,
    labelled: Mapping[str, str],
    *,
    page_url: str,
    now_us: int,
    resend_us: int,
) -> Notification:
    """Return an alert as it is sent now, under labels that it may have had before."""
    # A node's clock may be ahead of ours; an end that is to come would mean that it still fires.
    start_us = min(alert.firing_us or alert.since_us, now_us)
    if alert.state is State.FIRING:
        end_us = now_us + LIVES_PERIODS * resend_us
    else:
        end_us = max(min(alert.resolved_us or alert.seen_us, now_us), start_us)
    annotations = {
        "summary": wording.summary(alert, rule),
        "description": f"{_sentence(rule.condition)} {rule.advice}" if rule else "",
        "wasted_joules": "" if alert.wasted_uj is None else _joules(alert.wasted_uj),
        "evidence": wording.evidence(alert.evidence),
    }
    return {
        "labels": dict(labelled),
        "annotations": {name: text for name, text in annotations.items() if text},
        "startsAt": rfc3339(start_us),
        "endsAt": rfc3339(end_us),
        "generatorURL": f"{page_url.rstrip('/')}/#alert={alert.id}",
    }


def body(notifications: Sequence[Notification]) -> bytes:
    """Return a request's body."""
    return json.dumps(notifications, ensure_ascii=False, separators=(",", ":")).encode()


def rules_by_name(book: AlertBook) -> dict[str, Rule]:
    """Return the rules in force by their names."""
    return {rule.name: rule for rule in book.rules()}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _joules(energy_uj: int) -> str:
    return f"{'-' if energy_uj < 0 else ''}{abs(energy_uj) // 1_000_000}.{abs(energy_uj) % 1_000_000:06d}"
