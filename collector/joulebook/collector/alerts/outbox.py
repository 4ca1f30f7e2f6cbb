"""What one Alertmanager is to be told next, by what it has taken so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulebook.collector.alerts.alert import Alert, AlertBook, State
from joulebook.collector.alerts.notification import (
    MAX_BATCH,
    RESOLVED_US,
    body,
    current,
    labels,
    notification,
    rules_by_name,
)


def wall_clock_us() -> int:
    """Return the wall clock in µs."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Batch:
    """A request's alerts, under which labels each of them goes, and its body."""

    alerts: Sequence[tuple[Alert, dict[str, str]]]
    body: bytes


class Outbox:
    """Firing alerts, and resolved ones: for some minutes, and until a server that had them firing knows."""

    def __init__(
        self, book: AlertBook, *, page_url: str, resend_us: int, clock: Callable[[], int] = wall_clock_us
    ) -> None:
        self._book = book
        self._page_url = page_url
        self._resend_us = resend_us
        self._clock = clock
        # By episode, the labels under which it was taken: a user who is told late makes no second alert.
        self._taken: dict[str, dict[str, str]] = {}
        # Episodes whose end was taken.
        self._ended: set[str] = set()

    def batches(self) -> list[Batch]:
        """Return what is to be sent now. It may be called from another thread, one call at a time."""
        now_us = self._clock()
        rules = rules_by_name(self._book)
        due = [alert for alert in current(self._book.alerts()) if self._is_due(alert, now_us)]
        ids = {alert.id for alert in due}
        self._taken = {id_: labelled for id_, labelled in self._taken.items() if id_ in ids}
        self._ended &= ids
        labelled = [
            (alert, self._taken.get(alert.id) or labels(alert, rules.get(alert.rule))) for alert in due
        ]
        return [
            Batch(
                some,
                body(
                    [
                        notification(
                            alert,
                            rules.get(alert.rule),
                            names,
                            page_url=self._page_url,
                            now_us=now_us,
                            resend_us=self._resend_us,
                        )
                        for alert, names in some
                    ]
                ),
            )
            for some in (labelled[at : at + MAX_BATCH] for at in range(0, len(labelled), MAX_BATCH))
        ]

    def _is_due(self, alert: Alert, now_us: int) -> bool:
        if alert.state is State.FIRING:
            return True
        recent = (alert.resolved_us or alert.seen_us) > now_us - RESOLVED_US
        return recent or (alert.id in self._taken and alert.id not in self._ended)

    def taken(self, batch: Batch) -> None:
        """Take note that the server has a batch."""
        for alert, labelled in batch.alerts:
            self._taken[alert.id] = labelled
            if alert.state is State.RESOLVED:
                self._ended.add(alert.id)
