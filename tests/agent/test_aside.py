"""A call that hangs holds up nobody."""

import threading

import pytest

from joulebook.agent.aside import Aside, BlockedError


def test_results_and_errors_come_back() -> None:
    """What a call returns or raises is what the caller gets, one call after the other."""
    aside = Aside("test")
    assert aside.begin(lambda: 1).result(10) == 1
    with pytest.raises(ZeroDivisionError):
        aside.begin(lambda: 1 // 0).result(10)
    assert aside.begin(lambda: "a").result(10) == "a"
    assert aside.close()


def test_a_call_that_hangs_is_left_behind() -> None:
    """The caller waits as long as it said; until the call comes back no other is begun."""
    aside, gate = Aside("test"), threading.Event()
    hanging = aside.begin(gate.wait)
    with pytest.raises(BlockedError, match="not answered"):
        hanging.result(0.01)
    with pytest.raises(BlockedError, match="not answered"):
        aside.begin(lambda: 2)
    gate.set()
    assert hanging.result(10)
    assert aside.begin(lambda: 3).result(10) == 3
    assert aside.close()


def test_one_without_a_call_has_no_thread() -> None:
    """Where nothing was asked nothing has to end."""
    before = threading.active_count()
    assert Aside("test").close()
    assert threading.active_count() == before
