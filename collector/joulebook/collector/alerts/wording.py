"""Alerts in words, the same wherever they are told: one sentence, and figures that people read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from joulebook.collector.alerts.alert import Alert, Rule, State
from joulebook.collector.units import energy, percent, power

Figure = int | float | str

# The unit that a figure's name ends in → how it is written.
_WRITTEN = {
    "_uj": lambda value: energy(round(value)),
    "_mw": lambda value: power(round(value)),
    "_us": lambda value: span(round(value)),
    "_ppm": lambda value: percent(value / 1e6),
}
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def span(length_us: int) -> str:
    """Write a length of time in at most two units: 17 min, 2 h 5 min, 3 d."""
    if length_us < 1_000_000:
        return f"{max(length_us, 0) // 1000} ms"
    left_s, parts = length_us // 1_000_000, []
    for size_s, unit in _SPANS:
        count, left_s = divmod(left_s, size_s)
        parts.append((count, unit))
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def title(rule: Rule | None, name: str) -> str:
    """Return what a rule is called; one that is no longer in force by its name alone."""
    return rule.title if rule else name.replace("_", " ").capitalize()


def severity(rule: Rule | None) -> str:
    """Return how grave a rule's alerts are; of one that is no longer in force nobody said so."""
    return rule.severity if rule else "info"


def where(labels: Mapping[str, str]) -> str:
    """Name a subject, the nearest first: gpu.0 on n1, held by slurm.42 (ada); or slurm.42 (ada) on n1."""
    gpu, node, job, user = (labels.get(name, "") for name in ("gpu", "node", "job", "user"))
    if source := labels.get("source", ""):
        return f"{source} on {node}"
    holder = f"{job} ({user})" if job and user else job
    if not gpu:
        return " on ".join(part for part in (holder, node) if part)
    place = f"{gpu} on {node}" if node else gpu
    return f"{place}, held by {holder}" if holder else place


def summary(alert: Alert, rule: Rule | None) -> str:
    """Tell an alert in one sentence."""
    said = f"{title(rule, alert.rule)}: {where(alert.labels) or 'everywhere'}, for {span(length_us(alert))}"
    if alert.wasted_uj:
        said += f", {energy(alert.wasted_uj)} wasted"
    if alert.state is State.RESOLVED:
        said += f"; resolved{f', {alert.resolution}' if alert.resolution else ''}"
    return f"{said.rstrip('.')}."


def length_us(alert: Alert) -> int:
    """Return how long the condition has held, or held."""
    end_us = alert.seen_us if alert.resolved_us is None else alert.resolved_us
    return max(end_us - alert.since_us, 0)


def evidence(figures: Mapping[str, Figure]) -> str:
    """Write what was read: power 61 W, idle power 58 W, gpu utilisation 0 %."""
    return ", ".join(" ".join(figure(*one)) for one in figures.items())


def figure(name: str, value: Figure) -> tuple[str, str]:
    """Return a figure's name in words, and its value with the unit that its name ends in."""
    suffix = _suffix(name, _WRITTEN)
    if not suffix or isinstance(value, str):
        return name.replace("_", " "), str(value)
    return name.removesuffix(suffix).replace("_", " "), _WRITTEN[suffix](value)


def _suffix(name: str, known: Iterable[str]) -> str:
    return next((suffix for suffix in known if name.endswith(suffix)), "")
