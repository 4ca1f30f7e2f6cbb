"""The check of a whole store is the same question to every kind of store."""

from joulebook.collector.check.residuals import residuals
from joulebook.collector.store.protocol import Store


def test_sound_books_have_no_residual(store: Store) -> None:
    """Day by day, every node's accounts have what its raw readings say."""
    assert list(residuals(store)) == []
