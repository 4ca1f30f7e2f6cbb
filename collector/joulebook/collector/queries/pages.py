"""Lists a page at a time."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from joulebook.collector.queries.errors import BadValueError

T = TypeVar("T")
Key = tuple[int | str, ...]

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
EXPECTED_LIMIT = f"a whole number from 1 to {MAX_LIMIT}"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, and the cursor of what follows; None: nothing does."""

    items: list[T]
    next_cursor: str | None


def page(items: Sequence[T], key: Callable[[T], Key], limit: int, cursor: str | None) -> Page[T]:
    """Return up to limit items after the cursor, in the order of a key that no two share."""
    check_limit(limit)
    ordered = sorted(items, key=key)
    if cursor and ordered:
        after = place_of(cursor, like=key(ordered[0]))
        ordered = [item for item in ordered if key(item) > after]
    elif cursor:
        _decode(cursor)
    return first_page(ordered, key, limit)


def first_page(ordered: Sequence[T], key: Callable[[T], Key], limit: int) -> Page[T]:
    """Return up to limit items of what is in order already; at least one more is there if any follows."""
    taken = list(ordered[:limit])
    return Page(taken, _encode(key(taken[-1])) if len(ordered) > len(taken) else None)


def place_of(cursor: str, *, like: Key) -> Key:
    """Return the place in an order that a cursor names, of parts like another's. Raises BadValueError."""
    place = _decode(cursor)
    if [type(part) for part in place] != [type(part) for part in like]:
        raise _bad(cursor)
    return place


def check_limit(limit: int) -> None:
    """Refuse a limit that is out of bounds."""
    if not 1 <= limit <= MAX_LIMIT:
        raise BadValueError("limit", str(limit), EXPECTED_LIMIT)


def _encode(key: Key) -> str:
    text = json.dumps(key, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _decode(cursor: str) -> Key:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _bad(cursor) from None
    if not isinstance(found, list) or not all(type(part) in (int, str) for part in found):
        raise _bad(cursor)
    return tuple(found)


def _bad(cursor: str) -> BadValueError:
    return BadValueError("cursor", cursor, "the next_cursor of an earlier answer to this question")
