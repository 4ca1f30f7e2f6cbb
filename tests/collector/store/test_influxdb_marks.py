"""Sequence marks, as the server shows them while they are written."""

import pytest

from joulebook.collector.store.influxdb_http import Series
from joulebook.collector.store.influxdb_marks import marks_in

_WHOLE = {
    "time": 1_000_000,
    "start_us": 1,
    "end_us": 11,
    "start_unix_us": 999_990,
    "ledger_rows": 2,
    "unread_us": 0,
    "raised_uj": 0,
    "layout": "00000000000000ff",
    "interval_us": "10",
    "first_uj": "",
    "last_uj": "",
}


def _answer(row: dict[str, object]) -> list[Series]:
    return [Series({"node": "n1", "boot": "00" * 16, "clock": ""}, list(row), [list(row.values())])]


@pytest.mark.parametrize("missing", [name for name in _WHOLE if name != "time"])
def test_a_mark_that_is_half_there_is_not_there(missing: str) -> None:
    """A point of which a question sees some fields only is taken for one that is still to come."""
    (whole,) = marks_in(_answer(_WHOLE))
    assert (whole.node, whole.layout, whole.ledger_rows) == ("n1", 255, 2)
    assert marks_in(_answer(_WHOLE | {missing: None})) == []
