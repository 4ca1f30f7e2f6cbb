"""Made-up alerts: a book that a test writes in."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from joulebook.collector.alerts.alert import Alert, Rule, State

MINUTE_US = 60_000_000
# Up to when all that is made up here has been judged.
NOW_US = time.time_ns() // 1000

RULES = (
    Rule(
        "gpu_held_idle",
        "warning",
        "GPU held but idle",
        "Ask the job's owner, or end the job.",
        15 * MINUTE_US,
        "a job holds the GPU and uses none of it",
    ),
    Rule(
        "cpu_held_idle",
        "warning",
        "CPUs held but idle",
        "Reserve fewer.",
        15 * MINUTE_US,
        "a job uses at most 5 % of the CPUs that it reserved",
    ),
    Rule(
        "agent_silent",
        "critical",
        "Agent silent",
        "Look at the agent's service on the node.",
        2 * MINUTE_US,
        "the node has sent nothing for 120 s",
    ),
)


@dataclass(slots=True)
class MadeUpBook:
    """What is in it is what the test put there."""

    held: list[Alert] = field(default_factory=list)
    in_force: Sequence[Rule] = RULES

    def rules(self) -> Sequence[Rule]:
        """Return the rules in force."""
        return self.in_force

    def alerts(self) -> Sequence[Alert]:
        """Return what is held, newest first."""
        return sorted(self.held, key=lambda alert: -alert.since_us)


def pending(labels: Mapping[str, str], rule: str = "gpu_held_idle", *, minutes: int = 5) -> Alert:
    """Return an alert whose condition has held for some minutes up to now."""
    return Alert(
        rule=rule,
        labels=labels,
        state=State.PENDING,
        since_us=NOW_US - minutes * MINUTE_US,
        seen_us=NOW_US,
        observed_us=minutes * MINUTE_US,
        wasted_uj=minutes * 3_660_000_001,
        evidence={"power_mw": 61_000, "idle_power_mw": 58_000, "gpu_utilisation_ppm": 0},
    )


def firing(labels: Mapping[str, str], rule: str = "gpu_held_idle", *, minutes: int = 20) -> Alert:
    """Return an alert that has fired for the last minute."""
    made = pending(labels, rule, minutes=minutes)
    return replace(made, state=State.FIRING, firing_us=NOW_US - MINUTE_US)


def resolved(alert: Alert, *, minutes_ago: int = 0, why: str = "the job ended") -> Alert:
    """Return an alert as it ended."""
    end_us = NOW_US - minutes_ago * MINUTE_US
    assert end_us > alert.since_us
    return replace(
        alert,
        state=State.RESOLVED,
        seen_us=end_us,
        firing_us=min(alert.firing_us or end_us, end_us),
        resolved_us=end_us,
        resolution=why,
    )
