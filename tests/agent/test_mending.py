"""What cannot be read says what mends it."""

import pytest

from joulebook.agent.mending import FIX_DEVICE, FIX_OURS, FIX_PERMISSION, fix_of
from joulebook.agent.meters.bmc import AskError


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (PermissionError(13, "Permission denied"), FIX_PERMISSION),
        (OSError(19, "No such device"), FIX_DEVICE),
        (ValueError("invalid literal"), FIX_DEVICE),
        (AskError("no answer", "restart the BMC"), "restart the BMC"),
        (AskError("no answer"), FIX_DEVICE),
        (ZeroDivisionError(), FIX_OURS),
    ],
)
def test_an_error_has_a_fix(error: Exception, fix: str) -> None:
    """Its own where it knows one, else what its kind takes: a right, a driver, or a report to us."""
    assert fix_of(error) == fix
