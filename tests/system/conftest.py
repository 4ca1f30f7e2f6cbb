"""A collector and an agent of this machine, and a browser."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.system.browser import chromium
from tests.system.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Start a collector and an agent; end them whatever the test does."""
    site = Site(tmp_path)
    site.start("collector")
    site.start("agent")
    yield site
    for program in list(site.running):
        site.end(program, signal.SIGKILL)
    site.counter.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for a module's pages."""
    with chromium() as browser:
        yield browser
