"""`joulebook doctor` prints a page that fits into a ticket, of any node."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from joulebook.cli.main import main
from tests.fixtures.trees import KINDS, build

SERVER = ("--server", "http://127.0.0.1:1")
# Gauges at ticks only: what is read beside them depends on how busy the machine is.
AT_TICKS = {"JOULEBOOK__AGENT__GAUGES__READS_PER_S": "0"}


def told(directory: Path, *options: str) -> str:
    """Return what the doctor prints of a tree; no collector answers."""
    roots = [f"--{root}fs={directory / name}" for root, name in ROOTS]
    result = CliRunner().invoke(main, ["doctor", *SERVER, *roots, *options], env=AT_TICKS)
    assert result.exit_code == 1, result.output
    return result.stdout


def characterised(directory: Path, *options: str) -> str:
    """Return what the doctor prints of a tree's sensors after a second of load."""
    roots = [f"--{root}fs={directory / name}" for root, name in ROOTS]
    result = CliRunner().invoke(main, ["doctor", "--characterise", "--seconds", "1", *roots, *options])
    assert result.exit_code == 0, result.output
    return result.stdout


ROOTS = (("proc", "proc"), ("sys", "sys"), ("cgroup", "cgroup"), ("dev", "dev"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_says_what_the_json_says(tmp_path: Path, kind: str) -> None:
    """Host, every source, every domain, every fix and the collector are on the page."""
    build(kind, tmp_path)
    found = json.loads(told(tmp_path, "--json"))
    page = " ".join(told(tmp_path).split())
    host = found["host"]
    assert f"joulebook {host['joulebook']} on {host['node']}" in page
    assert f"Linux {host['kernel']}" in page
    for source in found["sources"]:
        assert f"{source['name']} {source['state']}" in page
        if source["fix"]:
            assert source["fix"].split()[0] in page
    for domain in found["domains"]:
        assert f"{domain['domain']} {domain['source']} {domain['kind'].replace('_', ' ')}" in page
    assert ("Modelled for lack of a sensor:" in page) == bool(found["modelled"])
    assert "no collector answers" in page


def test_a_bare_machine(tmp_path: Path) -> None:
    """Where nothing can be read at all there is a page all the same, without a table of domains."""
    page = told(tmp_path)
    assert "given by" not in page
    assert "absent" in page
    assert "What mends it:" in page


def test_characterise_tells_of_each_sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each domain that a sensor gives is told of beside what is documented, and how fast it is read."""
    build("epyc", tmp_path)
    # What never changes tells no more in a minute.
    monkeypatch.setattr("joulebook.agent.characterise.record._MOST_HALF_US", 200_000)
    page = json.loads(characterised(tmp_path, "--json"))
    sensors = {one["domain"]: one for one in page["sensors"]}
    assert "cpu.0" in sensors
    assert sensors["cpu.0"]["documented_period_us"] > 0
    for one in sensors.values():
        assert one["read_us"] > 0
        # The files of a tree never change.
        assert one["period_us"] is None
        assert "never changed" in one["note"]
    # The load is made once: the table is of the same rows.
    monkeypatch.setattr("joulebook.agent.main.characterise", lambda *_: page["sensors"])
    table = characterised(tmp_path)
    assert all(name in table for name in (*sensors, "documented", "followed by", "changed"))


def test_a_load_that_ends_is_an_error(tmp_path: Path) -> None:
    """A command that is no load says so and exits with 1; one without --characterise is wrong usage."""
    build("epyc", tmp_path)
    roots = [f"--{root}fs={tmp_path / name}" for root, name in ROOTS]
    ended = CliRunner().invoke(main, ["doctor", "--characterise", "--load", "exit 3", *roots])
    assert (ended.exit_code, "ended with status 3" in ended.output) == (1, True)
    alone = CliRunner().invoke(main, ["doctor", "--load", "true", *roots])
    assert (alone.exit_code, "expected both" in alone.output) == (2, True)


def test_characterise_without_a_sensor(tmp_path: Path) -> None:
    """A machine without one is told that there is nothing to find out, and loads nothing."""
    build("vm", tmp_path)
    assert characterised(tmp_path).startswith("No power sensor here")
    assert json.loads(characterised(tmp_path, "--json")) == {"sensors": []}
