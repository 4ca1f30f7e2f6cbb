"""What answers in a collector's place is told of, whatever it says: no command ends in a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.cli.main import main
from tests.servers.said import Said
from tests.simulated.garbage import ANY, spoilt, spoilt_bytes

_ENERGY: dict[str, Any] = {"energy_uj": 5, "plus_minus_uj": 1}
_PAGE: dict[str, Any] = {
    "next_cursor": None,
    "nodes": [
        {
            "node": "n1",
            "power_mw": 1,
            "accounts": [{"account": "idle", "power_mw": 1}],
            "domains": [{"domain": "cpu.0", "source": "rapl"}],
            "sources": [{"name": "rapl", "state": "suspect", "reason": "r", "fix": "f"}],
            "last_report": "2026-01-01T00:00:00Z",
        }
    ],
    "jobs": [{"job": "slurm.1", "name": "", "user": "", "account": None, "nodes": ["n1"], **_ENERGY}],
    "alerts": [{"id": "1", "state": "firing", "labels": {"node": "n1"}, "since": "2026-01-01T00:00:00Z"}],
    "to": "/b",
    "bytes": 5,
    "booked_uj": 7,
}
_PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_COMMANDS = (["nodes"], ["jobs"], ["job", "slurm.1"], ["alerts"], ["backup", "/x"])


@pytest.fixture(scope="module")
def server() -> Iterator[Said]:
    """A server that says what a test has it say."""
    made = Said()
    yield made
    made.close()


def _ask(server: Said, command: list[str]) -> None:
    done = CliRunner().invoke(main, [*command, "--server", server.url])
    assert done.exit_code in (0, 1), done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception


@settings(max_examples=40)
@given(said=spoilt(_PAGE) | ANY, status=st.sampled_from([200, 200, 503]), command=st.sampled_from(_COMMANDS))
def test_documents_of_any_shape(server: Said, said: Any, status: int, command: list[str]) -> None:
    """Whatever document is the answer, a command shows it or says what is wrong."""
    body = json.dumps(said).encode()
    server.said = b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
    _ask(server, command)


@settings(max_examples=25)
@given(said=spoilt_bytes(_PLAIN) | st.binary(max_size=60), command=st.sampled_from(_COMMANDS))
def test_bytes_of_any_kind(server: Said, said: bytes, command: list[str]) -> None:
    """Whatever bytes come, HTTP or not, a command says that no collector answers."""
    server.said = said
    _ask(server, command)


def test_what_answers_is_named(server: Said) -> None:
    """The message names the address, what is wrong with the answer, and what may be the cause."""
    server.said = _PLAIN
    done = CliRunner().invoke(main, ["nodes", "--server", server.url])
    assert done.exit_code == click.ClickException.exit_code
    assert f"{server.url} answered what no collector of this version says (KeyError: 'nodes')" in done.output
