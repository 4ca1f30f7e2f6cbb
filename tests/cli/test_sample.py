"""The sample holds every key, explained, and is the defaults."""

import tomllib
from pathlib import Path

import msgspec

from joulebook.agent.config import AgentConfig
from joulebook.cli.layers import SECTIONS, load
from joulebook.cli.sample import sample, toml_value
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.config import CollectorConfig


def test_sample_is_the_defaults(tmp_path: Path) -> None:
    """Every key is there, with the value that it has where nothing is said."""
    text = sample()
    whole = {s: msgspec.to_builtins(type_()) for s, type_ in SECTIONS.items() if "." not in s}
    assert tomllib.loads(text) == whole
    file = tmp_path / "sample.toml"
    file.write_text(text)
    found = load(file, environ={})
    assert (found.agent, found.collector, found.alerts) == (AgentConfig(), CollectorConfig(), AlertsConfig())


def test_sample_explains() -> None:
    """The comments of the structs stand above their keys, whole."""
    assert "# How often everything is read.\ntick_s = 1.0\n" in sample()
    assert "as a service, else\n# in $XDG_STATE_HOME/joulebook.\nstore = " in sample()


def test_values_are_toml() -> None:
    """Values of every type are read again as they were."""
    value = {"a.b": [1, 2.5, True, 'quo"te\\ \n é'], "c": {}, "d": []}
    assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value
