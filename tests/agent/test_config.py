"""Where the agent listens for commands, and where commands find it."""

import os
import socket
from pathlib import Path

import pytest

from joulebook.agent.config import AgentConfig


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({}, 0, "/run/joulebook/agent.sock"),
        ({"RUNTIME_DIRECTORY": "/run/joulebook"}, 997, "/run/joulebook/agent.sock"),
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b"}, 0, "/run/a/agent.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, 7, "/run/user/7/agent.sock"),
        ({}, 7, "/tmp/joulebook-7/agent.sock"),
    ],
)
def test_where_the_agent_listens(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], uid: int, expected: str
) -> None:
    """In the service's directory, else in the system's as root, else in the user's."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert str(AgentConfig().socket_path(environ)) == expected
    assert str(AgentConfig(socket="/else").socket_path(environ)) == "/else"


def test_where_commands_find_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user's own agent comes before the system's; a directory of the caller's own service is none."""
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "RUNTIME_DIRECTORY": "/run/slurm"}
    system = Path("/run/joulebook/agent.sock")
    assert AgentConfig().socket_to_call(environ) == system
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as own:
        own.bind(str(tmp_path / "agent.sock"))
        assert AgentConfig().socket_to_call(environ) == tmp_path / "agent.sock"
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert AgentConfig().socket_to_call(environ) == system
    assert AgentConfig(socket="/else").socket_to_call(environ) == Path("/else")


@pytest.mark.parametrize(
    ("config", "environ", "expected"),
    [
        (AgentConfig(), {"STATE_DIRECTORY": "/var/lib/joulebook:/x"}, "/var/lib/joulebook/spool"),
        (AgentConfig(spool="/data/spool"), {"STATE_DIRECTORY": "/var/lib/joulebook"}, "/data/spool"),
        (AgentConfig(spool="memory"), {}, "None"),
    ],
)
def test_where_the_spool_is(config: AgentConfig, environ: dict[str, str], expected: str) -> None:
    """Where it is told, else in the service's directory; in memory where that is asked for."""
    assert str(config.spool_path(environ)) == expected


def test_several_collectors() -> None:
    """Addresses come in their order, with or without blanks; a faulty one is named."""
    config = AgentConfig(collector="a:1, [::1]:2,b.example:3")
    assert config.collectors() == [("a", 1), ("::1", 2), ("b.example", 3)]
    assert not config.errors()
    assert AgentConfig(collector="a:1,b").errors() == ["agent.collector = 'b': expected host:port"]


def test_the_spools_bounds_are_checked() -> None:
    """What cannot work is named with what is expected."""
    assert AgentConfig(spool="here", spool_max_bytes=5).errors() == [
        "agent.spool = 'here': expected an absolute path, or memory",
        "agent.spool_max_bytes = 5: expected 1048576 to 1099511627776",
    ]
