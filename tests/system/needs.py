"""What a test cannot do without."""

import os

import pytest


def need(what: str) -> None:
    """Skip what this machine cannot run; on CI it must."""
    if what and os.environ.get("CI"):
        pytest.fail(f"CI must have {what}")
    if what:
        pytest.skip(f"needs {what}")
