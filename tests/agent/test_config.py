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
