"""The configuration is joined from its layers, and every fault in it is told at once."""

from pathlib import Path
from typing import Any

import pytest

from joulebook.agent.config import AgentConfig
from joulebook.cli.layers import ConfigError, load
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.config import CollectorConfig
from joulebook.collector.ledger.policy import Policy


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "joulebook.toml"
    path.write_text(text)
    return path


def _errors(tmp_path: Path, text: str = "", **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as found:
        load(_file(tmp_path, text), environ=environ)
    return found.value.errors


def test_later_layers_win(tmp_path: Path) -> None:
    """A flag beats the environment, which beats the file, which beats the default; each origin is known."""
    file = _file(tmp_path, '[agent]\ntick_s = 2\nreport_s = 20\nnode = "from-file"\n')
    environ = {"JOULEBOOK__AGENT__REPORT_S": "30", "JOULEBOOK__AGENT__NODE": "from-environment"}
    found = load(file, {("agent", "node"): "from-flag", ("agent", "sysfs"): None}, environ)
    assert (found.agent.tick_s, found.agent.report_s, found.agent.node) == (2.0, 30.0, "from-flag")
    assert found.agent.sysfs == "/sys"
    assert found.origins == {
        ("agent", "tick_s"): str(file),
        ("agent", "report_s"): "JOULEBOOK__AGENT__REPORT_S",
        ("agent", "node"): "--node",
    }


def test_a_section_within_a_section(tmp_path: Path) -> None:
    """A source's own section [agent.NAME] comes from file and environment as any other; faults are told."""
    text = "[agent]\ntick_s = 2\n[agent.gauges]\nreads_per_s = 5\n"
    found = load(_file(tmp_path, text), environ={})
    assert (found.agent.tick_s, found.agent.gauges.reads_per_s) == (2.0, 5.0)
    assert found.origins["agent.gauges", "reads_per_s"] == str(tmp_path / "joulebook.toml")
    variable = {"JOULEBOOK__AGENT__GAUGES__READS_PER_S": "7"}
    assert load(_file(tmp_path, text), environ=variable).agent.gauges.reads_per_s == 7
    (near,) = _errors(tmp_path, "[agent.gauges]\nread_per_s = 1\n")
    assert near.endswith("agent.gauges.read_per_s: unknown key; did you mean 'reads_per_s'?")
    (far,) = _errors(tmp_path, "[agent.gauge]\nreads_per_s = 1\n")
    assert far.endswith("agent.gauge: unknown key; did you mean 'gauges'?")
    (wrong,) = _errors(tmp_path, "", JOULEBOOK__AGENT__GAUGES__READS_PER_S="-1")
    origin = "JOULEBOOK__AGENT__GAUGES__READS_PER_S: agent.gauges.reads_per_s"
    assert wrong == f"{origin} = -1.0: expected 0 to 1000"


def test_nothing_given_is_the_defaults(tmp_path: Path) -> None:
    """An empty file gives every default."""
    found = load(_file(tmp_path, ""), environ={})
    assert (found.agent, found.collector, found.alerts) == (AgentConfig(), CollectorConfig(), AlertsConfig())


def test_file_is_found_by_the_environment(tmp_path: Path) -> None:
    """$JOULEBOOK_CONFIG names the file where no flag does."""
    file = _file(tmp_path, "[agent]\ntick_s = 3\n")
    assert load(environ={"JOULEBOOK_CONFIG": str(file)}).agent.tick_s == 3


@pytest.mark.parametrize(
    ("variable", "text", "section", "expected"),
    [
        ("AGENT__TICK_S", "0.5", "agent", {"tick_s": 0.5}),
        ("AGENT__NODE", "42", "agent", {"node": "42"}),
        ("AGENT__OWN_PIDS", "[1, 2]", "agent", {"own_pids": [1, 2]}),
        ("AGENT__IDLE_POWER_MW", '{"cpu.0" = 18000}', "agent", {"idle_power_mw": {"cpu.0": 18000}}),
        ("COLLECTOR__INSECURE", "true", "collector", {"insecure": True}),
        ("COLLECTOR__POLICY", "active", "collector", {"policy": Policy.ACTIVE}),
    ],
)
def test_environment_has_types(
    tmp_path: Path, variable: str, text: str, section: str, expected: dict[str, Any]
) -> None:
    """A variable's text becomes a value of the key's type."""
    found = load(_file(tmp_path, ""), environ={f"JOULEBOOK__{variable}": text})
    for name, value in expected.items():
        assert getattr(getattr(found, section), name) == value


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """File, environment and the structs' own checks are told together, each by its origin."""
    text = (
        '[agent]\ntik_s = 1\nreport_s = "long"\ntick_s = 99\n[colector]\n[collector]\nhttp = "0.0.0.0:80"\n'
    )
    variable = {"JOULEBOOK__COLLECTOR__POLICY": "fair", "JOULEBOOK__AGENT__OWN_PIDS": "7"}
    errors = _errors(tmp_path, text, **variable)
    file = tmp_path / "joulebook.toml"
    assert f"{file}: agent.tik_s: unknown key; did you mean 'tick_s'?" in errors
    assert f"{file}: agent.report_s = 'long': expected float, got str" in errors
    assert f"{file}: agent.tick_s = 99.0: expected 0.05 to 60" in errors
    assert f"{file}: [colector]: unknown section; did you mean 'collector'?" in errors
    assert "JOULEBOOK__COLLECTOR__POLICY = 'fair': invalid enum value 'fair'" in errors
    assert "JOULEBOOK__AGENT__OWN_PIDS: agent.own_pids = 7: expected array, got int" in errors
    assert any(e.startswith(f"{file}: collector.http = '0.0.0.0:80': not loopback") for e in errors)


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("JOULEBOOK__AGNT__NODE", "JOULEBOOK__AGNT__NODE: unknown section 'agnt'; did you mean 'agent'?"),
        ("JOULEBOOK__AGENT__NODES", "JOULEBOOK__AGENT__NODES: unknown key; did you mean 'node'?"),
        ("JOULEBOOK__AGENT__IDLE_POWER_MW", "JOULEBOOK__AGENT__IDLE_POWER_MW = 'x': expected a TOML dict"),
    ],
)
def test_bad_variable(tmp_path: Path, variable: str, expected: str) -> None:
    """A variable that names nothing, or no value, is refused by its name."""
    assert _errors(tmp_path, **{variable: "x"}) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"), [("agent = 1", "agent = 1: expected a section"), ("[agent", "not TOML")]
)
def test_bad_file(tmp_path: Path, text: str, expected: str) -> None:
    """A file that is not made of sections is refused by its name."""
    (error,) = _errors(tmp_path, text)
    assert error.startswith(f"{tmp_path / 'joulebook.toml'}: {expected}")


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """A file that was named and cannot be read is an error, not the defaults."""
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read"):
        load(tmp_path / "none.toml", environ={})
