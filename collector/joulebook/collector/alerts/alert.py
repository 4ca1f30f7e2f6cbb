"""An alert: what is wrong, where, since when, by what evidence, and what it has cost."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol


class State(StrEnum):
    """Where an alert is in its life: pending → firing → resolved. A pending one that ends was none."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


# Figures and moments by a name with its unit.
Evidence = Mapping[str, int | float | str]

STATES = tuple(State)
SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class Rule:
    """What is watched. An alert fires once its condition held for for_us of reported time."""

    name: str
    severity: str
    # What it means and what to do, for people.
    title: str
    advice: str
    for_us: int
    # The condition in words, with the thresholds that are in force.
    condition: str


class Key(NamedTuple):
    """A rule and its subject: labels by name. At most one pending or firing alert has it at a time."""

    rule: str
    subject: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Alert:
    """One episode of a rule on one subject. Times are µs of the wall clock."""

    rule: str
    # Identity: node, and where there is one gpu, job, source. Never a figure. And user, who may be told late.
    labels: Mapping[str, str]
    state: State
    # When the condition began to hold.
    since_us: int
    # Up to when it has been judged.
    seen_us: int
    # Reported time in which it held; less than the time that passed where data are missing.
    observed_us: int
    # None where it cannot be known.
    wasted_uj: int | None
    # What was read, for people.
    evidence: Evidence = field(default_factory=dict)
    firing_us: int | None = None
    resolved_us: int | None = None
    # Why it ended.
    resolution: str = ""

    @property
    def key(self) -> Key:
        """Return what of the labels is identity."""
        return Key(self.rule, tuple((k, v) for k, v in sorted(self.labels.items()) if k != "user"))

    @property
    def fingerprint(self) -> str:
        """Return a name of the rule and its subject: the same for every episode of them."""
        text = "\0".join([self.rule, *(f"{k}\0{v}" for k, v in self.key.subject)])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def id(self) -> str:
        """Return a name of this episode."""
        return f"{self.fingerprint}-{self.since_us}"


class AlertBook(Protocol):
    """What is known of alerts; both may be asked from any thread."""

    def rules(self) -> Sequence[Rule]:
        """Return the rules in force."""

    def alerts(self) -> Sequence[Alert]:
        """Return pending and firing alerts, and those resolved that are still kept, newest first."""
