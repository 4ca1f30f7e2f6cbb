"""What is said to a question that has no answer."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# Longer values are cut where they are repeated: they may be anything.
_SHOWN = 120


class QueryError(Exception):
    """A question that cannot be answered: which field, its value, and what was expected."""

    def __init__(self, field: str, value: str, expected: str) -> None:
        self.field = field
        self.value = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
        self.expected = expected
        super().__init__(f"{field} {self.value!r}: expected {expected}")


class BadValueError(QueryError):
    """A value that no answer could ever fit."""


class UnknownNameError(QueryError):
    """A name that is well formed, and of nothing in the books."""


def expected_name(what: str, name: str, known: Iterable[str]) -> str:
    """Say what was expected in place of a name, with the nearest that is known."""
    near = get_close_matches(name[:_SHOWN], known, n=1)
    return f"{what}; did you mean {near[0]!r}?" if near else what
