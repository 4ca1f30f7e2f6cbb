"""The sample configuration does in the real Alertmanager what it says."""

import subprocess
from pathlib import Path

import pytest

from tests.collector.alerts.conftest import LiveDelivery, until
from tests.servers.alertmanager import alertmanager
from tests.servers.programs import program
from tests.simulated.alerts import MadeUpBook, firing

_SAMPLE = Path(__file__).parents[2] / "deploy" / "alertmanager" / "alertmanager.yml"


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=AgentSilent", "severity=critical"], "operators"),
        (["alertname=ResidualNotZero", "severity=critical"], "operators"),
        (["alertname=GpuHeldIdle", "severity=warning"], "waste"),
        (["alertname=NodeUnallocated", "severity=info"], "waste"),
    ],
)
def test_routes(labels: list[str], receiver: str) -> None:
    """What is grave goes to operators, waste to those who care for efficiency."""
    amtool = program("amtool", package="prometheus-alertmanager")
    command = [amtool, "config", "routes", "test", f"--config.file={_SAMPLE}", *labels]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == [receiver]


def test_silent_agent_inhibits_idleness(tmp_path: Path) -> None:
    """While a node's agent is silent nothing is said about its idleness; of other nodes it is."""
    book = MadeUpBook([firing({"node": "n1"}, "agent_silent")])
    book.held += [firing({"node": node, "gpu": "gpu.0"}) for node in ("n1", "n2")]
    with alertmanager(tmp_path, config=_SAMPLE) as server, LiveDelivery(book, server.url):
        # Alertmanager learns of inhibition a moment after it took the alerts.
        until(lambda: any(found["status"]["inhibitedBy"] for found in server.alerts()))
        until(lambda: len(server.alerts()) == 3)
        found = server.alerts()
    inhibited = [one["labels"] for one in found if one["status"]["inhibitedBy"]]
    assert [(labels["alertname"], labels["node"]) for labels in inhibited] == [("GpuHeldIdle", "n1")]
