"""The page in a real browser, over the books of two hundred nodes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from joulebook.collector.store.duckdb import DuckDBStore
from tests.simulated.collector import LiveCollector
from tests.simulated.large import fill
from tests.system.browser import Watched

NODES = 200


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A collector with an hour of two hundred nodes' books."""
    path = tmp_path_factory.mktemp("page") / "books.duckdb"
    store = DuckDBStore(path)
    # A little ahead, so that no node falls silent before a slow machine is through.
    fill(store, nodes=NODES, reports=60, report_us=60_000_000, now_us=time.time_ns() // 1000 + 60_000_000)
    store.close()
    with LiveCollector(path) as live:
        yield f"http://{live.addresses.http}"


@pytest.fixture
def watched(browser: Browser, url: str) -> Iterator[Watched]:
    """The page in a wide window."""
    watched = Watched(browser, url, viewport={"width": 1400, "height": 1000})
    yield watched
    watched.close()


def test_page_shows_the_books(watched: Watched, tmp_path: Path) -> None:
    """The page shows power by account, whether the books balance, jobs with their ±, and every node."""
    page = watched.page
    expect(page.locator("#summary")).to_contain_text("✓ balanced")
    expect(page.locator("#summary")).to_contain_text(f"{NODES} of {NODES}")
    expect(page.locator("#nodes tbody tr")).to_have_count(NODES)
    expect(page.locator("#jobs tbody tr").first).to_contain_text("±")
    expect(page.locator("#legend li").filter(has_text="idle capacity")).to_be_visible()
    expect(page.locator("#chart canvas")).to_be_visible()
    # Nodes that need somebody come first, with what mends them.
    expect(page.locator("#nodes tbody tr").first).to_contain_text("→")
    page.screenshot(path=tmp_path / "light.png", full_page=True)


def test_page_can_be_clicked_through(watched: Watched, tmp_path: Path) -> None:
    """A node, a range, a job, a state and a search can be chosen, and the address keeps the choice."""
    page = watched.page
    page.locator("#nodes tbody tr td button", has_text="node008").click()
    expect(page.locator("#scope")).to_contain_text("node node008")
    expect(page.locator("#summary")).to_contain_text("1 of 1")
    page.get_by_role("button", name="15 min").click()
    assert "range=15m" in page.url
    assert "node=node008" in page.url
    page.reload()
    expect(page.get_by_role("button", name="15 min")).to_have_attribute("aria-pressed", "true")
    page.locator("#jobs tbody button").first.click()
    expect(page.locator("#jobs tr.detail")).to_contain_text("cpu")
    expect(page.locator("#jobs tr.detail")).to_contain_text("nothing booked")
    page.locator("#chart .u-over").hover(position={"x": 200, "y": 100})
    expect(page.locator("#legend .head")).not_to_contain_text("mean")
    page.screenshot(path=tmp_path / "node.png", full_page=True)
    page.get_by_role("button", name="show all nodes").click()
    page.get_by_role("button", name="ended").click()
    expect(page.locator("#jobs")).to_contain_text("No jobs")
    page.get_by_role("searchbox").fill("suspect")
    expect(page.locator("#nodes tbody tr")).to_have_count(NODES // 50)


def test_page_in_the_dark_and_narrow(browser: Browser, url: str, tmp_path: Path) -> None:
    """In a dark and narrow window the page keeps its width, and its ground is dark."""
    viewport = {"width": 480, "height": 900}
    watched = Watched(browser, url, viewport=viewport, color_scheme="dark")
    expect(watched.page.locator("#summary")).to_contain_text("✓ balanced")
    expect(watched.page.locator("#legend li").first).to_be_visible()
    watched.page.screenshot(path=tmp_path / "dark.png", full_page=True)
    assert watched.page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    assert watched.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"
    watched.close()


def test_page_paints_before_it_has_an_answer(browser: Browser, url: str) -> None:
    """The first paint waits for none of the collector's answers."""
    watched = Watched(browser, "about:blank")
    # Held until the page is painted.
    held: list[Route] = []
    watched.page.route("**/api/v1/**", lambda route: held.append(route))  # noqa: PLW0108  # it is marked
    watched.page.goto(url)
    paint_ms = watched.page.evaluate(
        """new Promise((resolve) => new PerformanceObserver((list) => resolve(list.getEntries()[0].startTime))
            .observe({ type: "paint", buffered: true }))"""
    )
    assert paint_ms > 0
    assert held
    watched.page.close()


def test_page_says_what_is_left_out(browser: Browser, url: str) -> None:
    """Of the ends of a range whose books are kept by whole hours, which no figure has, it says how much."""
    watched = Watched(browser, url)
    expect(watched.page.locator("#summary")).to_contain_text("✓ balanced")
    expect(watched.page.locator("#summary")).not_to_contain_text("whole hours")
    ends = [
        {"from": "2026-11-23T10:20:00Z", "to": "2026-11-23T11:00:00Z"},
        {"from": "2026-11-24T11:00:00Z", "to": "2026-11-24T11:05:30Z"},
    ]

    def forgetful(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"forgotten": ends})

    watched.page.route("**/api/v1/ledger?*", forgetful)
    watched.page.get_by_role("button", name="7 d").click()
    left_out = "in 7 d but 45 min 30 s, kept by whole hours only"
    expect(watched.page.locator("#summary")).to_contain_text(left_out)
    watched.close()


def test_page_says_when_the_collector_is_gone(browser: Browser, url: str) -> None:
    """When nobody answers any more the page says that what it shows is old, and keeps it."""
    watched = Watched(browser, url)
    expect(watched.page.locator("#nodes tbody tr")).to_have_count(NODES)
    watched.page.route("**/api/v1/**", lambda route: route.abort())
    watched.page.get_by_role("button", name="6 h").click()
    expect(watched.page.get_by_role("alert")).to_contain_text("Not all of this is new")
    expect(watched.page.locator("#nodes tbody tr")).to_have_count(NODES)
    assert watched.complaints == ["Failed to load resource: net::ERR_FAILED"] * len(watched.complaints)
    watched.page.close()
