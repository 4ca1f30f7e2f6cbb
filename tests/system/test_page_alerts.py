"""The page's alerts in a real browser, over the real API with made-up alerts."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from joulebook.collector.alerts.alert import Alert
from joulebook.collector.store.duckdb import DuckDBStore
from tests.simulated.alerts import MadeUpBook, firing, pending, resolved
from tests.simulated.api import LiveApi
from tests.simulated.large import fill
from tests.system.browser import Watched

_WIDE = {"width": 1400, "height": 1000}
_GPU = {"node": "node003", "gpu": "gpu.0", "job": "slurm.4208", "user": "<b>ada</b>"}


def _made_up() -> MadeUpBook:
    """Alerts of every state, rule and severity, the kinds that a page has to show."""
    silent = replace(
        firing({"node": "node007"}, "agent_silent", minutes=190),
        wasted_uj=None,
        evidence={"last_report": "2026-03-01T10:00:00Z"},
    )
    gpus = [firing(_GPU | {"gpu": f"gpu.{n}"}, minutes=45 + 7 * n) for n in range(3)]
    waiting = pending({"node": "node005", "job": "slurm.5", "user": "bob"}, "cpu_held_idle", minutes=6)
    old = [
        resolved(firing({"node": f"node{n:03}"}, minutes=400 + 60 * n), minutes_ago=60 * n + 90)
        for n in range(1, 5)
    ]
    return MadeUpBook([silent, *gpus, waiting, *old])


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some minutes of a few nodes."""
    path = tmp_path_factory.mktemp("page") / "books.duckdb"
    store = DuckDBStore(path)
    fill(store, nodes=12, reports=30, report_us=60_000_000, now_us=time.time_ns() // 1000 + 60_000_000)
    store.close()
    return path


@pytest.fixture(scope="module")
def book() -> MadeUpBook:
    """What fires, waits and was resolved."""
    return _made_up()


@pytest.fixture(scope="module")
def url(books: Path, book: MadeUpBook) -> Iterator[str]:
    """Where the page is."""
    with LiveApi(books, book) as live:
        yield f"http://{live.addresses.http}"


def _of(book: MadeUpBook, rule: str) -> Alert:
    return next(alert for alert in book.held if alert.rule == rule)


def test_alerts_are_shown(browser: Browser, url: str, tmp_path: Path) -> None:
    """What fires comes first and is counted; evidence opens in place; no text of a label is markup."""
    watched = Watched(browser, url, viewport=_WIDE)
    page = watched.page
    rows = page.locator("#alerts tbody tr")
    expect(rows).to_have_count(9)
    expect(rows.first).to_contain_text("Agent silent critical")
    states = [text.split()[-1] for text in page.locator("#alerts td.state").all_text_contents()]
    assert states == ["firing"] * 4 + ["pending"] + ["resolved"] * 4
    expect(page.locator("#alerts-count")).to_have_text("4 firing, 1 pending")
    expect(page.locator("#summary")).to_contain_text("4 firing, 1 pending")
    gpu = rows.filter(has_text="gpu.2")
    expect(gpu).to_contain_text("gpu.2 on node003, held by slurm.4208 (<b>ada</b>)")
    gpu.get_by_role("button", name="GPU held but idle").click()
    detail = page.locator("#alerts tr.detail")
    expect(detail.locator("dl")).to_contain_text("idle power58.0 W")
    expect(detail).to_contain_text("→ Ask the job's owner, or end the job.")
    page.screenshot(path=tmp_path / "alerts.png", full_page=True)
    # Drawing it anew closes nothing that was opened.
    page.get_by_role("button", name="15 min").click()
    expect(page.get_by_role("button", name="15 min")).to_have_attribute("aria-pressed", "true")
    expect(detail.locator("dl")).to_be_visible()
    watched.close()


def test_alerts_lead_to_node_and_job(browser: Browser, url: str) -> None:
    """From an alert one gets to its node and to its job, listed or not; a node shows its own alerts."""
    watched = Watched(browser, url, viewport=_WIDE)
    page = watched.page
    page.locator("#alerts tbody tr").filter(has_text="gpu.1").get_by_role("button", name="node003").click()
    expect(page.locator("#scope")).to_contain_text("node node003")
    expect(page.locator("#alerts-count")).to_have_text("3 firing")
    page.locator("#alerts tbody tr").first.get_by_role("button", name="slurm.4208").click()
    expect(page.locator("#jobs tr.detail")).to_contain_text("cpu")
    watched.close()


def test_link_from_a_notification(browser: Browser, url: str, book: MadeUpBook) -> None:
    """The address that Alertmanager gives leads to the alert, with its evidence open."""
    wanted = _of(book, "cpu_held_idle")
    watched = Watched(browser, f"{url}/#alert={wanted.id}", viewport={"width": 1400, "height": 500})
    expect(watched.page.locator(f"[data-alert='{wanted.id}']")).to_be_in_viewport()
    expect(watched.page.locator("#alerts tr.detail dl")).to_contain_text("watched for6 min")
    watched.close()


def test_dark_and_narrow(browser: Browser, url: str, tmp_path: Path) -> None:
    """In a dark and narrow window the alerts keep within the page."""
    watched = Watched(browser, url, viewport={"width": 480, "height": 900}, color_scheme="dark")
    expect(watched.page.locator("#alerts-count")).to_have_text("4 firing, 1 pending")
    watched.page.locator("#alerts td button").first.click()
    watched.page.screenshot(path=tmp_path / "dark.png", full_page=True)
    assert watched.page.evaluate("document.documentElement.scrollWidth") == 480
    watched.close()


def test_no_alerts(browser: Browser, tmp_path: Path) -> None:
    """Where there are none the page says so, and shows no empty table."""
    with LiveApi(tmp_path / "empty.duckdb", MadeUpBook()) as live:
        watched = Watched(browser, f"http://{live.addresses.http}", viewport=_WIDE)
        expect(watched.page.locator("#alerts-count")).to_have_text("no alerts")
        expect(watched.page.locator("#alerts")).to_be_hidden()
        watched.close()
