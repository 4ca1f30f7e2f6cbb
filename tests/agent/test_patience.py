"""What is waited for one after another is waited for together no longer than said."""

import time

import pytest

from joulebook.agent.patience import Patience


def test_what_is_left_shrinks_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the time that has not passed yet, and never below 0, which waits would take for ever."""
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    patience = Patience(5.0)
    assert patience.left_s == 5.0
    now_s += 3.5
    assert patience.left_s == 1.5
    now_s += 60
    assert patience.left_s == 0.0
