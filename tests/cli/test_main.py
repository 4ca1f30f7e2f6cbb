"""Commands load what they need and no more, and say what is wrong in a line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from joulebook.cli.main import main


def _loaded(*arguments: str) -> set[str]:
    """Return the top-level modules that a command leaves loaded."""
    program = (
        "import sys\nfrom joulebook.cli.main import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ended.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["agent", "--once", "--json"], ["config", "check"], ["--help"]])
def test_light_commands_stay_light(arguments: list[str]) -> None:
    """The agent, the configuration and the help load nothing of the collector, and no tables."""
    assert not _loaded(*arguments) & {"numpy", "duckdb", "pyarrow", "fastapi", "uvicorn", "rich"}


def test_help_names_every_command() -> None:
    """The help lists every command, and each has a help of its own."""
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    for name in main.list_commands(None):  # type: ignore[arg-type]
        assert f"  {name} " in shown.output
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


def test_version() -> None:
    """The version is the distribution's."""
    assert CliRunner().invoke(main, ["--version"]).output.startswith("joulebook 0.")


def test_unknown_command() -> None:
    """A command that there is not is an error of use."""
    assert CliRunner().invoke(main, ["nodse"]).exit_code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """Completion is a script for the shell that completes `joulebook`."""
    shown = CliRunner().invoke(main, ["completion", shell])
    assert shown.exit_code == 0
    assert "_JOULEBOOK_COMPLETE" in shown.output


def test_config_check(tmp_path: Path) -> None:
    """A sound configuration exits with 0, a faulty one with 2 and all its faults on stderr."""
    file = tmp_path / "joulebook.toml"
    file.write_text("[agent]\ntick_s = 1\n")
    assert CliRunner().invoke(main, ["config", "check", "--config", str(file)]).exit_code == 0
    file.write_text("[agent]\ntik_s = 1\n[collector]\nhttp = 1\n")
    failed = CliRunner().invoke(main, ["config", "check", "--config", str(file)])
    assert (failed.exit_code, failed.stdout, len(failed.stderr.splitlines())) == (2, "", 2)


def test_config_show(tmp_path: Path) -> None:
    """Effective values are shown with where each came from."""
    file = tmp_path / "joulebook.toml"
    file.write_text("[agent]\ntick_s = 2\n")
    shown = CliRunner().invoke(
        main, ["config", "show", "--json", "--config", str(file)], env={"JOULEBOOK__AGENT__NODE": "n7"}
    )
    agent = json.loads(shown.output)["agent"]
    assert agent["tick_s"] == {"value": 2.0, "from": str(file)}
    assert agent["node"] == {"value": "n7", "from": "JOULEBOOK__AGENT__NODE"}
    assert agent["report_s"] == {"value": 10.0, "from": "default"}
    text = CliRunner().invoke(main, ["config", "show", "--config", str(file)]).output
    assert f"tick_s = 2.0  # {file}" in text


@pytest.mark.parametrize("command", [["jobs"], ["job", "run.abc"], ["nodes"], ["alerts"]])
def test_unreachable_collector(command: list[str]) -> None:
    """Where no collector answers, that is said with what to do, and the exit status is 1."""
    failed = CliRunner().invoke(main, [*command, "--server", "http://127.0.0.1:1"])
    assert failed.exit_code == 1
    assert "no collector answers at http://127.0.0.1:1" in failed.stderr
    assert "joulebook up" in failed.stderr


def test_doctor_without_a_collector() -> None:
    """The doctor tells how every source stands, and that no collector answers."""
    told = CliRunner().invoke(main, ["doctor", "--json", "--server", "http://127.0.0.1:1"])
    assert told.exit_code == 1
    found = json.loads(told.stdout)
    assert {"name", "state", "reason", "fix", "duration_us"} <= found["sources"][0].keys()
    assert not found["collector"]["reachable"]
    shown = CliRunner().invoke(main, ["doctor", "--server", "http://127.0.0.1:1"])
    assert "model" in shown.stdout
