"""The life of alerts: pending → firing → resolved. Pure: told what was seen, and what time it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from joulebook.collector.alerts.alert import Alert, Evidence, Key, Rule, State
from joulebook.collector.alerts.conditions import Condition, Seen
from joulebook.collector.alerts.names import CPU_HELD_IDLE, GPU_HELD_IDLE, NODE_UNALLOCATED, SOURCE_SUSPECT

# A subject that nobody watched for longer may have been used meanwhile: what is pending begins anew, and what
# fires is no longer known to hold.
GAP_LIMIT_US = 300_000_000
# Rules that Reports alone tell of, and what it means that their condition holds no longer.
_BY_REPORTS = {
    GPU_HELD_IDLE: "in use again",
    CPU_HELD_IDLE: "in use again",
    NODE_UNALLOCATED: "a job came",
}


class Episodes:
    """Pending and firing alerts; changed is what became of them by id, ended what ended before it fired."""

    def __init__(self, rules: Iterable[Rule], alerts: Iterable[Alert] = ()) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._by_node: dict[str, dict[Key, Alert]] = defaultdict(dict)
        self.changed: dict[str, Alert] = {}
        # Ids of pending alerts that ended: nothing is left of them.
        self.ended: set[str] = set()
        for alert in alerts:
            if alert.rule in self._rules:
                self._by_node[alert.labels["node"]][alert.key] = alert
            else:
                self._end(alert, alert.seen_us, "the rule is no longer watched")

    def alerts(self) -> list[Alert]:
        """Return what is pending or firing."""
        return [alert for own in self._by_node.values() for alert in own.values()]

    def get(self, key: Key) -> Alert | None:
        """Return the alert that a subject has now."""
        return self._by_node.get(dict(key.subject)["node"], {}).get(key)

    def see(self, seen: Seen) -> None:
        """Take in what one Report said of its node."""
        for key, condition in seen.holds.items():
            self.hold(key, condition, seen.start_us, seen.end_us, users=seen.users)
        self._see_sources(seen)
        own = self._by_node.get(seen.node)
        for key, alert in list(own.items()) if own else ():
            if key in seen.clear:
                self._interrupt(alert, seen.start_us, seen.end_us)
            elif key not in seen.known and "job" in alert.labels and seen.end_us > alert.seen_us:
                self._end(alert, seen.start_us, "released")

    def _see_sources(self, seen: Seen) -> None:
        """Take in what a Report says of sources. They are told of when they change, and stay so meanwhile."""
        for name, evidence in seen.sources.items():
            key = Key(SOURCE_SUSPECT, (("node", seen.node), ("source", name)))
            if evidence is None:
                self.clear(key, seen.start_us, "well again")
            else:
                alert = self.get(key)
                since_us = seen.start_us if alert is None else alert.since_us
                self.stand(key, since_us, seen.end_us, evidence)
        for alert in list(self._by_node.get(seen.node, {}).values()):
            if alert.rule == SOURCE_SUSPECT and alert.labels["source"] not in seen.sources:
                self.stand(alert.key, alert.since_us, seen.end_us, alert.evidence)

    def hold(
        self,
        key: Key,
        condition: Condition,
        start_us: int,
        end_us: int,
        *,
        users: Mapping[str, str] | None = None,
    ) -> None:
        """Take in that a condition held from start_us to end_us."""
        if key.rule not in self._rules:
            return
        alert = self.get(key)
        if alert is not None and start_us > alert.seen_us + GAP_LIMIT_US:
            self._end(alert, alert.seen_us, "no data")
            alert = None
        if alert is None:
            alert = Alert(key.rule, dict(key.subject), State.PENDING, start_us, start_us, 0, 0)
        elif end_us <= alert.seen_us and (alert.state is State.PENDING or start_us < alert.since_us):
            # A late Report proves nothing: a later one still may tell of use in between. Only what fires,
            # and went on then, is known to have wasted more.
            return
        user = (users or {}).get(alert.labels.get("job", ""))
        alert = replace(
            alert,
            labels={**alert.labels, "user": user} if user else alert.labels,
            seen_us=max(alert.seen_us, end_us),
            observed_us=alert.observed_us + condition.observed_us,
            wasted_uj=(alert.wasted_uj or 0) + condition.wasted_uj,
            # A late Report does not say how things are now.
            evidence=condition.evidence if end_us >= alert.seen_us else alert.evidence,
        )
        self._keep(alert)

    def stand(self, key: Key, since_us: int, now_us: int, evidence: Evidence) -> None:
        """Take in that a condition has held from since_us until now; what it costs cannot be known."""
        if key.rule not in self._rules:
            return
        alert = self.get(key)
        if alert is None:
            alert = Alert(key.rule, dict(key.subject), State.PENDING, since_us, now_us, 0, None)
        seen_us = max(now_us, alert.seen_us)
        self._keep(replace(alert, seen_us=seen_us, observed_us=seen_us - alert.since_us, evidence=evidence))

    def clear(self, key: Key, at_us: int, why: str) -> None:
        """Take in that a condition that stood holds no longer."""
        alert = self.get(key)
        if alert is not None:
            self._end(alert, at_us, why)

    def forget_unwatched(self, now_us: int, since_us: int) -> None:
        """End what nobody has watched for long; since_us is when this collector began to listen.

        Only of subjects that Reports tell of: the others are cleared by who holds them.
        """
        for alert in self.alerts():
            if alert.rule in _BY_REPORTS and now_us - max(alert.seen_us, since_us) > GAP_LIMIT_US:
                self._end(alert, alert.seen_us, "no data")

    def _interrupt(self, alert: Alert, start_us: int, end_us: int) -> None:
        """Take in that the condition did not hold in a Report."""
        if end_us > alert.seen_us:
            self._end(alert, start_us, _BY_REPORTS[alert.rule])
        elif alert.state is State.PENDING and end_us > alert.since_us:
            # Late news that it was interrupted: it began only then, and what was seen since cannot be told
            # from what was seen before.
            self.ended.add(alert.id)
            self.changed.pop(alert.id, None)
            self._keep(replace(alert, since_us=end_us, observed_us=0, wasted_uj=0))

    def _keep(self, alert: Alert) -> None:
        if alert.state is State.PENDING and alert.observed_us >= self._rules[alert.rule].for_us:
            alert = replace(alert, state=State.FIRING, firing_us=alert.seen_us)
        self._by_node[alert.labels["node"]][alert.key] = alert
        self.changed[alert.id] = alert

    def _end(self, alert: Alert, at_us: int, why: str) -> None:
        own = self._by_node[alert.labels["node"]]
        own.pop(alert.key, None)
        if not own:
            del self._by_node[alert.labels["node"]]
        if alert.state is State.PENDING:
            self.changed.pop(alert.id, None)
            self.ended.add(alert.id)
            return
        resolved_us = max(at_us, alert.firing_us or 0)
        self.changed[alert.id] = replace(alert, state=State.RESOLVED, resolved_us=resolved_us, resolution=why)
