"""What a peer or a disk gives that was never put there: documents of any shape, and sound ones spoilt."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 1 << 63, 1 << 200, 1e308, -0.0, "", "\0", "x" * 5000, "٣", "\ud800"])
    | st.floats()
    | st.text(max_size=9)
)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def spoilt(document: Any) -> st.SearchStrategy[Any]:
    """Return a strategy of a document in which one to three values are others or gone."""
    places = list(_places(document))

    @st.composite
    def draw(draw: st.DrawFn) -> Any:
        made = copy.deepcopy(document)
        for _ in range(draw(st.integers(1, 3))):
            place = draw(st.sampled_from(places))
            holder = made
            try:
                for key in place[:-1]:
                    holder = holder[key]
                if draw(st.booleans()):
                    holder[place[-1]] = draw(ANY)
                else:
                    del holder[place[-1]]
            except (LookupError, TypeError):
                # It was within what is spoilt already.
                continue
        return made

    return draw()


def spoilt_bytes(data: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy of bytes of which some are others, gone, or there again."""

    @st.composite
    def draw(draw: st.DrawFn) -> bytes:
        made = bytearray(data)
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, max(len(made) - 1, 0)))
            length = draw(st.integers(0, 8))
            kind = draw(st.sampled_from(["bit", "other", "cut", "gone", "again"]))
            if kind == "bit" and made:
                made[at] ^= 1 << draw(st.integers(0, 7))
            elif kind == "other":
                made[at : at + length] = draw(st.binary(min_size=length, max_size=length))
            elif kind == "cut":
                del made[at:]
            elif kind == "gone":
                del made[at : at + length]
            else:
                made[at:at] = made[at : at + length]
        return bytes(made)

    return draw()


def _places(document: Any, *place: Any) -> Iterator[tuple[Any, ...]]:
    keys = (
        document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    )
    for key in keys:
        yield (*place, key)
        yield from _places(document[key], *place, key)
