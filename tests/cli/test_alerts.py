"""What `joulebook alerts` shows of a collector's alerts."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from joulebook.cli.main import main
from tests.simulated.alerts import MadeUpBook, firing, pending, resolved
from tests.simulated.api import LiveApi

_GPU = {"node": "n1", "gpu": "gpu.0", "job": "slurm.42", "user": "a\x1bda"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where alerts in every state are: pending ones, the newest; a firing one; many that were resolved."""
    old = [resolved(firing({"node": f"n{n}"}, minutes=90 + n), minutes_ago=60) for n in range(60)]
    silent = firing({"node": "n2"}, "agent_silent", minutes=200)
    with LiveApi(":memory:", MadeUpBook([pending(_GPU), silent, *old])) as live:
        yield f"http://{live.addresses.http}"


def _shown(url: str, *arguments: str) -> str:
    shown = CliRunner().invoke(main, ["alerts", *arguments], env={"JOULEBOOK_SERVER": url})
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def test_table(url: str) -> None:
    """What fires comes first, then what is pending, then what was resolved; no name drives the terminal."""
    lines = [line.split() for line in _shown(url).splitlines() if line.strip()]
    assert lines[0] == ["state", "rule", "where", "since", "for", "wasted", "what"]
    states = [line[0] for line in lines if line[0] in ("firing", "pending", "resolved")]
    assert states == ["firing", "pending", *["resolved"] * 48]
    text = _shown(url, "--state", "pending")
    for part in ("gpu_held_idle", "gpu.0 on n1, held by slurm.42 (a�da)", "5 min", "18.30 kJ", "61.00 W"):
        assert part in text


def test_json(url: str) -> None:
    """As JSON the alerts are those of the API, as many as were asked for."""
    found = json.loads(_shown(url, "--json", "--limit", "30"))
    assert [alert["state"] for alert in found] == ["firing", "pending", *["resolved"] * 28]
    (silent,) = json.loads(_shown(url, "--json", "--rule", "agent_silent"))
    assert silent["labels"] == {"node": "n2"}
    assert len(json.loads(_shown(url, "--json", "--job", "slurm.42"))) == 1


def test_none(url: str) -> None:
    """Where there is no alert that is said."""
    assert _shown(url, "--node", "n99") == "no alerts\n"
    assert json.loads(_shown(url, "--node", "n99", "--json")) == []
