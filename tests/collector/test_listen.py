"""The collector's ports are set up so that nothing waits that need not."""

import socket

import pytest

from joulebook.collector.listen import _bound


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_answers_are_not_held_back(host: str) -> None:
    """A connection that is taken sends each write at once: answers are two, and the second does not wait."""
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with (
        _bound("http", host, 0) as listening,
        socket.create_connection(listening.getsockname()[:2]),
        listening.accept()[0] as taken,
    ):
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
