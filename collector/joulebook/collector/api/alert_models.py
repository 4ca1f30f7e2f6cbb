"""What alerts and rules look like in JSON."""

from __future__ import annotations

from joulebook.collector.api.answer import Answer, OptionalTime, Seconds, Time, of


class Alert(Answer):
    """One episode of a rule on one subject; wasted_uj is null where it cannot be known."""

    id: str
    rule: str
    severity: str
    state: str
    labels: dict[str, str]
    since: Time = of("since_us")
    seen: Time = of("seen_us")
    firing: OptionalTime = of("firing_us")
    resolved: OptionalTime = of("resolved_us")
    resolution: str
    observed_s: Seconds = of("observed_us")
    wasted_uj: int | None
    evidence: dict[str, int | float | str]
    title: str
    summary: str


class AlertPage(Answer):
    """Alerts, the newest first."""

    alerts: list[Alert] = of("items")
    next_cursor: str | None


class Rule(Answer):
    """What is watched, and for how long its condition must hold before an alert fires."""

    name: str
    severity: str
    title: str
    advice: str
    for_s: Seconds = of("for_us")
    condition: str


class RulePage(Answer):
    """Rules in force, by name."""

    rules: list[Rule] = of("items")
    next_cursor: str | None
