"""Lists come a page at a time, whole and in order; cursors are theirs alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.queries.errors import BadValueError
from joulebook.collector.queries.pages import page


@given(st.sets(st.tuples(st.integers(), st.text())), st.integers(1, 7))
def test_pages_are_the_list(items: set[tuple[int, str]], limit: int) -> None:
    """All pages together are the list in order, nothing twice and nothing left out."""
    seen: list[tuple[int, str]] = []
    cursor = None
    while True:
        found = page(list(items), lambda item: item, limit, cursor)
        seen += found.items
        cursor = found.next_cursor
        if cursor is None:
            break
    assert seen == sorted(items)


@pytest.mark.parametrize(
    "cursor", ["x", "é", "AAAA", "bnVsbA", "W10", "WzFd", "W251bGxd", "W1tbW1s", "\0", "a" * 9999]
)
def test_bad_cursor(cursor: str) -> None:
    """A cursor that no answer gave is refused."""
    with pytest.raises(BadValueError, match=r"cursor .*expected the next_cursor of an earlier answer"):
        page([("a", "b")], lambda item: item, 1, cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_bad_limit(limit: int) -> None:
    """A limit out of bounds is refused with the bounds."""
    with pytest.raises(BadValueError, match=r"limit .*expected a whole number from 1 to 1000"):
        page([("a",)], lambda item: item, limit, None)
