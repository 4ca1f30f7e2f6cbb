"""What of the errors of those who were asked means that no answer came in time."""

import pytest

from joulebook.agent.asked import is_timeout
from joulebook.agent.meters.bmc import AskError
from joulebook.agent.usage.beside import Unread, UnreadError


def _made_of(cause: Exception | None, context: Exception | None = None) -> Exception:
    error = OSError("no answer")
    error.__cause__, error.__context__ = cause, context
    return error


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        pytest.param(TimeoutError(), True, id="itself"),
        pytest.param(_made_of(TimeoutError()), True, id="what it came from"),
        pytest.param(_made_of(None, _made_of(TimeoutError())), True, id="what was hidden behind it"),
        pytest.param(AskError("no", timed_out=True), True, id="it says so"),
        pytest.param(UnreadError([Unread("a", "no"), Unread("b", "", timed_out=True)]), True, id="a part"),
        pytest.param(UnreadError([Unread("a", "no")]), False, id="no part"),
        pytest.param(AskError("wrong password"), False, id="refused"),
        pytest.param(_made_of(ConnectionRefusedError()), False, id="nobody there"),
    ],
)
def test_silence_is_told_from_refusal(error: Exception, is_so: bool) -> None:
    """Whatever a library's error was made into, a time-out within it is one."""
    assert is_timeout(error) is is_so
