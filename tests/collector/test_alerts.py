"""A whole collector judges, shows and delivers, and a restart changes none of it."""

import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from joulebook.collector.alerts.config import AlertsConfig
from tests.collector.alerts.conftest import until
from tests.servers.alertmanager import alertmanager, receiver
from tests.simulated.cluster import cluster
from tests.simulated.collector import LiveCollector

_SILENT = "AgentSilent"


@pytest.fixture
def books(tmp_path: Path) -> str:
    """Books of two nodes whose agents have been silent for long."""
    made = cluster(str(tmp_path / "books.duckdb"))
    made.store.close()
    return made.path


def _sent(url: str) -> int:
    with urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    name = "joulebook_alertmanager_sent_notifications_total{"
    return sum(int(line.split()[-1]) for line in lines if line.startswith(name))


def _alerts(url: str) -> Any:
    with urlopen(f"{url}/api/v1/alerts?rule=agent_silent") as answer:
        return json.load(answer)["alerts"]


def test_silent_agents_are_told_of_across_a_restart(books: str, tmp_path: Path) -> None:
    """People hear of silent agents once; a restart neither resolves nor repeats it."""
    with receiver() as people, alertmanager(tmp_path / "alertmanager", webhook=people.url) as server:
        config = AlertsConfig(
            alertmanagers=[server.url],
            evaluate_s=0.05,
            # An alert that is not sent again for four of these ends: it must outlive the restart.
            resend_s=600.0,
            agent_silent_for_s=0.1,
            agent_silent_forget_days=1e6,
        )
        with LiveCollector(books, config):
            people.wait_for(("firing", _SILENT), ("firing", _SILENT))
        before = server.alerts()
        with LiveCollector(books, config) as live:
            url = f"http://{live.addresses.http}"
            until(lambda: _sent(url) >= 2)
            shown, after = _alerts(url), server.alerts()
        assert people.told == [("firing", _SILENT)] * 2
    assert {alert["labels"]["node"] for alert in after} == {"n1", "n2"}
    for found, again in zip(_by_fingerprint(before), _by_fingerprint(after), strict=True):
        assert (found["fingerprint"], found["startsAt"]) == (again["fingerprint"], again["startsAt"])
    assert {alert["id"] for alert in shown} == {found["generatorURL"].partition("=")[2] for found in after}


def _by_fingerprint(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(alerts, key=lambda alert: str(alert["fingerprint"]))
