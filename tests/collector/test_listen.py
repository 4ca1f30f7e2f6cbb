"""The collector's ports are set up so that nothing waits that need not."""

import socket

from joulebook.collector.listen import _bound


def test_answers_are_not_held_back() -> None:
    """A connection that is taken sends each write at once: answers are two, and the second does not wait."""
    with (
        _bound("http", "127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as taken,
    ):
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
