"""Names that schedulers give, as they may be kept."""

from __future__ import annotations

# Of a text that is told.
_LONGEST = 255


def told_text(text: str) -> str:
    """Return a text of up to 255 characters; what cannot be printed is spelled out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)[:_LONGEST]
