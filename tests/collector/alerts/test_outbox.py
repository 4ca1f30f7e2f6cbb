"""What an Alertmanager is told next follows from the book and from what it has taken."""

import json
from dataclasses import replace
from typing import Any

from joulebook.collector.alerts.alert import Alert
from joulebook.collector.alerts.outbox import Batch, Outbox
from joulebook.collector.queries.times import rfc3339
from tests.simulated.alerts import MINUTE_US, NOW_US, MadeUpBook, firing, pending, resolved

_RESEND_US = 60_000_000
_NODE = {"node": "n1"}


def _outbox(*alerts: Alert) -> tuple[MadeUpBook, Outbox]:
    book = MadeUpBook(list(alerts))
    return book, Outbox(book, page_url="http://c:8460/", resend_us=_RESEND_US, clock=lambda: NOW_US)


def _sent(batches: list[Batch]) -> list[dict[str, Any]]:
    return [one for batch in batches for one in json.loads(batch.body)]


def _take(outbox: Outbox) -> list[dict[str, Any]]:
    batches = outbox.batches()
    for batch in batches:
        outbox.taken(batch)
    return _sent(batches)


def test_firing_ends_by_itself() -> None:
    """A firing alert's end is four periods ahead: were its collector dead, it would end."""
    alert = firing(_NODE)
    _, outbox = _outbox(alert)
    (sent,) = _take(outbox)
    assert alert.firing_us is not None
    assert sent["startsAt"] == rfc3339(alert.firing_us)
    assert sent["endsAt"] == rfc3339(NOW_US + 4 * _RESEND_US)
    assert sent["generatorURL"] == f"http://c:8460/#alert={alert.id}"


def test_resolved_is_sent_for_five_minutes() -> None:
    """A resolved alert is sent for five minutes, whether or not this collector sent it firing."""
    recent = resolved(firing(_NODE), minutes_ago=4)
    _, outbox = _outbox(recent, resolved(firing({"node": "n2"}), minutes_ago=6))
    (sent,) = _take(outbox)
    assert sent["endsAt"] == rfc3339(NOW_US - 4 * MINUTE_US)
    assert len(_take(outbox)) == 1


def test_resolved_is_owed_to_who_had_it_firing() -> None:
    """Who was told that an alert fires is told of its end however late, and then no more."""
    alert = firing(_NODE)
    book, outbox = _outbox(alert)
    _take(outbox)
    book.held = [resolved(alert, minutes_ago=10)]
    assert len(outbox.batches()) == 1  # not taken, so it is sent again
    assert len(_take(outbox)) == 1
    assert _take(outbox) == []


def test_new_episode_silences_the_old_end() -> None:
    """Of a subject only the newest episode is sent: the end of an old one would end the new one."""
    old = resolved(firing(_NODE, minutes=30), minutes_ago=3)
    new = firing(_NODE, minutes=2)
    _, outbox = _outbox(new, old, pending(_NODE, "cpu_held_idle"))
    (sent,) = _take(outbox)
    assert sent["generatorURL"].endswith(new.id)


def test_episode_that_never_fired_is_not_sent() -> None:
    """What was pending and went away is told to nobody."""
    alert = replace(resolved(firing(_NODE)), firing_us=None)
    _, outbox = _outbox(alert)
    assert _take(outbox) == []


def test_labels_stay_those_first_taken() -> None:
    """A label that changes under an alert, as a user told late, makes no second alert of it."""
    alert = firing({"node": "n1", "job": "slurm.1"})
    book, outbox = _outbox(alert)
    (first,) = _take(outbox)
    book.in_force = ()  # its severity is not known any more
    (again,) = _take(outbox)
    assert again["labels"] == first["labels"]


def test_no_figure_is_a_label() -> None:
    """Labels are who and where; a figure among them would make another alert of each."""
    alert = firing(_NODE)
    _, outbox = _outbox(alert)
    assert _take(outbox)[0]["labels"] == {"alertname": "GpuHeldIdle", "severity": "warning", "node": "n1"}


def test_clock_ahead_still_resolves() -> None:
    """An end that a node's clock puts ahead of ours is sent as now, or it would mean that it still fires."""
    ahead = replace(resolved(firing(_NODE)), firing_us=NOW_US + MINUTE_US, resolved_us=NOW_US + 2 * MINUTE_US)
    _, outbox = _outbox(ahead)
    (sent,) = _take(outbox)
    assert sent["startsAt"] == sent["endsAt"] == rfc3339(NOW_US)


def test_many_go_in_batches() -> None:
    """However many fire, a request holds 256 at most, and none is left out."""
    _, outbox = _outbox(*(firing({"node": f"n{number}"}) for number in range(600)))
    batches = outbox.batches()
    assert [len(json.loads(batch.body)) for batch in batches] == [256, 256, 88]
    assert len({one["labels"]["node"] for one in _sent(batches)}) == 600
