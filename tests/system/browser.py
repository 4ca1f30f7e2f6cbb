"""Debian's Chromium, and a page that is watched."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, sync_playwright

_PATIENCE_MS = 300_000
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; none is downloaded."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have chromium")
        pytest.skip("needs chromium: deploy/install-packages")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS, timeout=_PATIENCE_MS)
        yield browser
        browser.close()


class Watched:
    """A page, with what it said and whom it asked."""

    def __init__(self, browser: Browser, url: str, **context: object) -> None:
        self._origin = url.partition("#")[0]
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.page: Page = browser.new_page(locale="en-GB", **context)  # type: ignore[arg-type]
        self.page.set_default_timeout(_PATIENCE_MS)
        self.page.on("console", self._said)
        self.page.on("pageerror", self._threw)
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto(url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _threw(self, error: Error) -> None:
        self.complaints.append(str(error))

    def _asked(self, url: str) -> None:
        if not url.startswith((self._origin, "data:")):
            self.strangers.append(url)

    def close(self) -> None:
        """Close it; it must have been content and kept to itself."""
        self.page.close()
        assert (self.complaints, self.strangers) == ([], [])
