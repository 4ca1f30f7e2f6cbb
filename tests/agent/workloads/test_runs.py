"""The run socket and what it lets through."""

import os
import select
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from joulebook.agent.workloads import runs
from joulebook.agent.workloads.runs import LostRun, RunSocket
from joulebook.agent.workloads.runwire import MAX_PACKET_BYTES, BeginRun, EndRun, Reply

TOKEN = "0123456789abcdef"
BEGIN = BeginRun("run.x", TOKEN, 7, "make", reserved_millicpus=500)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunSocket]:
    run_socket = RunSocket(tmp_path / "run" / "run.sock")
    yield run_socket
    run_socket.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "run.sock"


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(60)
    client.connect(str(path))
    return client


def send(client: socket.socket, message: object) -> None:
    client.send(message if isinstance(message, bytes) else msgspec.json.encode(message))


def answer(client: socket.socket) -> Reply:
    return msgspec.json.decode(client.recv(MAX_PACKET_BYTES), type=Reply)


def handle_all(server: RunSocket) -> list[runs.Request]:
    """Handle until nothing is left to do."""
    requests = []
    while select.select([server], [], [], 0)[0]:
        requests += server.handle()
    return requests


def begin(server: RunSocket, client: socket.socket) -> None:
    send(client, BEGIN)
    (request,) = handle_all(server)
    request.reply(Reply(id="run.x"))
    assert answer(client).id == "run.x"


def test_everybody_may_connect(server: RunSocket, path: Path) -> None:
    """The socket is open to all users; its directory is not theirs to change."""
    assert server.fileno() > 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_run_begins_and_ends(server: RunSocket, path: Path) -> None:
    """Begin and end arrive with who sent them, by the kernel's word, and are answered."""
    with connect(path) as client:
        begin(server, client)
        send(client, EndRun("run.x", 3, 1234))
        (request,) = handle_all(server)
        assert request.message == EndRun("run.x", 3, 1234)
        assert (request.pid, request.uid) == (os.getpid(), os.getuid())
        request.reply(Reply(id="run.x"))
        assert answer(client) == Reply(id="run.x")
    assert handle_all(server) == [], "nothing is lost when a client leaves after its end"


def test_client_that_goes_away_loses_its_run(server: RunSocket, path: Path) -> None:
    """A connection that closes with its run unfinished says so."""
    with connect(path) as client:
        begin(server, client)
    assert [request.message for request in handle_all(server)] == [LostRun("run.x")]
    assert handle_all(server) == []


@pytest.mark.parametrize(
    ("packet", "named"),
    [
        (b"nonsense", "malformed"),
        (b"{}", "do"),
        (b'{"do":"stop"}', "stop"),
        (b'{"do":"begin","id":"run.x","token":"0123456789abcdef","pid":7,"uid":0}', "uid"),
        (b'{"do":"begin","id":"run.x","token":"0123456789abcdef"}', "pid"),
        (b'{"do":"begin","id":"run.x","token":"0123456789abcdef","pid":"7"}', "$.pid"),
        (b'{"do":"begin","id":"run.x","token":"0123456789abcdef","pid":-7}', "$.pid"),
        (b'{"do":"begin","id":"run.x","token":"../../../../x","pid":7}', "$.token"),
        (b'{"do":"begin","id":"slurm.42","token":"0123456789abcdef","pid":7}', "$.id"),
        (b'{"do":"begin","id":"run.a/b","token":"0123456789abcdef","pid":7}', "$.id"),
        (b'{"do":"end","id":"run.other","exit_status":0,"usage_us":0}', "run.other"),
        (b'{"do":"end","id":"run.other","exit_status":256,"usage_us":0}', "$.exit_status"),
        (b'{"do":"end","id":"run.other","exit_status":0,"usage_us":-1}', "$.usage_us"),
        (b'"' + b"x" * MAX_PACKET_BYTES + b'"', "65536"),
        (b"\xff\xfe", "malformed"),
    ],
)
def test_bad_request_is_answered_by_name(server: RunSocket, path: Path, packet: bytes, named: str) -> None:
    """What cannot be is refused with the field's name, its connection closed, and others go on."""
    with connect(path) as good, connect(path) as bad:
        begin(server, good)
        send(bad, packet)
        assert handle_all(server) == []
        assert named in answer(bad).error
        assert bad.recv(1) == b""
        send(good, EndRun("run.x", 0, 0))
        assert [request.message for request in handle_all(server)] == [EndRun("run.x", 0, 0)]


def test_second_begin_ends_the_first(server: RunSocket, path: Path) -> None:
    """One connection is one run: another begin is refused, and the run is not left open."""
    with connect(path) as client:
        begin(server, client)
        send(client, BEGIN)
        assert [request.message for request in handle_all(server)] == [LostRun("run.x")]
        assert "begun" in answer(client).error


def test_refused_run_is_not_lost(server: RunSocket, path: Path) -> None:
    """A begin that the agent refuses leaves nothing to end."""
    with connect(path) as client:
        send(client, BEGIN)
        (request,) = handle_all(server)
        request.reply(Reply(error="pid: no process 7 here"))
        assert answer(client).error == "pid: no process 7 here"
    assert handle_all(server) == []


def test_client_gone_before_its_answer(server: RunSocket, path: Path) -> None:
    """A client that dies between asking and the answer loses its run, and nobody else's."""
    with connect(path) as client:
        send(client, BEGIN)
    (request, *rest) = server.handle() or server.handle()
    request.reply(Reply(id="run.x"))
    lost = [*rest, *handle_all(server)]
    assert [each.message for each in lost] == [LostRun("run.x")]


def test_silent_clients_do_not_fill_it(
    server: RunSocket, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that ask nothing are dropped, and above the limit new ones are refused with the reason."""
    monkeypatch.setattr(runs, "_MAX_CLIENTS", 2)
    with connect(path) as first, connect(path) as second, connect(path) as third:
        handle_all(server)
        assert "too many" in answer(third).error
        begin(server, second)
        monkeypatch.setattr(runs, "_SILENCE_S", -1.0)
        with connect(path) as fourth:
            handle_all(server)
            assert first.recv(1) == b""
            begin(server, fourth)


def test_hundreds_of_runs_leave_nothing(server: RunSocket, path: Path) -> None:
    """Clients that come and go leave no descriptor behind."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for n in range(300):
        with connect(path) as client:
            begin(server, client)
            if n % 2:
                send(client, EndRun("run.x", 0, 0))
                (request,) = handle_all(server)
                request.reply(Reply(id="run.x"))
        handle_all(server)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_stale_socket_is_replaced(path: Path) -> None:
    """The socket that a killed agent left does not stand in the way of the next."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(path))
    server = RunSocket(path)
    with connect(path):
        handle_all(server)
    server.close()
    assert not path.exists()


def test_second_agent_is_refused(server: RunSocket, path: Path) -> None:
    """An agent never takes the socket of another that answers."""
    with pytest.raises(FileExistsError, match="another joulebook agent"):
        RunSocket(path)
    assert handle_all(server) == []


def test_path_that_no_socket_can_have(tmp_path: Path) -> None:
    """A path too long for a socket is refused with its name and the limit."""
    with pytest.raises(OSError, match="107"):
        RunSocket(tmp_path / ("x" * 120))
