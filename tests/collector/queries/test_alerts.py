"""Alerts are listed the newest first, page by page, whatever became of their rules."""

import pytest

from joulebook.collector.queries.alerts import list_alerts
from joulebook.collector.queries.errors import UnknownNameError
from tests.simulated.alerts import MadeUpBook, firing, resolved


def test_pages_lose_nothing() -> None:
    """Alerts that began in the same microsecond come once each, whatever the size of a page."""
    book = MadeUpBook([firing({"node": f"n{number}"}, minutes=20 + number // 3) for number in range(10)])
    whole = [alert.id for alert in list_alerts(book, limit=1000).items]
    assert len(set(whole)) == 10
    found, cursor = [], None
    while True:
        part = list_alerts(book, limit=3, cursor=cursor)
        found += part.items
        cursor = part.next_cursor
        if cursor is None:
            break
    assert [alert.id for alert in found] == whole
    assert [alert.since_us for alert in found] == sorted((a.since_us for a in found), reverse=True)


def test_rule_that_is_not_watched_any_more() -> None:
    """Alerts of a rule that was turned off are told by its name; a rule that never was is refused."""
    book = MadeUpBook([resolved(firing({"node": "n1"}, "fans_too_fast"))])
    (alert,) = list_alerts(book, rule="fans_too_fast", limit=1).items
    assert (alert.title, alert.severity) == ("Fans too fast", "info")
    with pytest.raises(UnknownNameError, match="did you mean 'fans_too_fast'"):
        list_alerts(book, rule="fans_to_fast", limit=1)
