"""What the service manager hears from us."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.service.notify import Manager


class Heard:
    """The manager's end of the socket, and a clock that stands until it is moved."""

    def __init__(self, address: str) -> None:
        self.environ = {"NOTIFY_SOCKET": address}
        self.now_s = 1000.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.setblocking(False)

    def manager(self, **environ: str) -> Manager:
        """Return our end."""
        return Manager(self.environ | environ, lambda: self.now_s)

    def next(self) -> list[str]:
        """Return the lines of the next datagram; none where nothing was said."""
        try:
            return self._socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Stop to listen."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heard]:
    """Listen at an address of either kind."""
    path = tmp_path / "notify"
    heard = Heard(str(path) if request.param == "path" else f"@joulebook-test-{os.getpid()}")
    yield heard
    heard.close()


def test_life_from_start_to_end(heard: Heard) -> None:
    """We are ready once, give signs of life, and say that we stop."""
    manager = heard.manager(WATCHDOG_USEC="8000000", WATCHDOG_PID=str(os.getpid()))
    manager.ready("measuring")
    assert heard.next() == ["READY=1", "STATUS=measuring"]
    manager.alive(lambda: "3 wait")
    assert heard.next() == ["WATCHDOG=1", "STATUS=3 wait"]
    manager.stopping()
    assert heard.next() == ["STOPPING=1", "STATUS=stopping"]
    manager.close()


def test_signs_are_as_rare_as_they_may_be(heard: Heard) -> None:
    """However often the loop turns, a sign goes out four times in a watchdog's time."""
    manager = heard.manager(WATCHDOG_USEC="8000000")
    signs = 0
    for _ in range(80):
        manager.alive(lambda: "")
        signs += bool(heard.next())
        heard.now_s += 0.1
    assert signs == 4
    manager.close()


def test_slow_loop_asks_for_patience(heard: Heard) -> None:
    """A loop that turns every minute asks for a longer watchdog than it was given; a fast one does not."""
    manager = heard.manager(WATCHDOG_USEC="30000000")
    manager.ready("", sign_every_s=7.5)
    assert heard.next() == ["READY=1", "STATUS="]
    manager.ready("", sign_every_s=60)
    assert heard.next() == ["READY=1", "STATUS=", "WATCHDOG_USEC=240000000"]
    assert manager.watchdog_s == 240
    manager.close()


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}],
    ids=["none", "another process's", "no number"],
)
def test_no_watchdog_of_ours(heard: Heard, environ: dict[str, str]) -> None:
    """Where no watchdog waits for us, no sign of life is sent."""
    manager = heard.manager(**environ)
    manager.alive(lambda: "")
    assert (manager.watchdog_s, heard.next()) == (0, [])
    manager.close()


def test_without_a_manager() -> None:
    """Started by hand, nothing is said and no watchdog is served, even where a parent's was inherited."""
    manager = Manager({"WATCHDOG_USEC": "1000000"})
    manager.ready("")
    manager.alive(lambda: "")
    manager.stopping()
    assert manager.watchdog_s == 0
    manager.close()


def test_manager_that_does_not_listen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A manager that cannot be reached is told in the log, and work goes on."""
    manager = Manager({"NOTIFY_SOCKET": str(tmp_path / "nowhere")})
    manager.ready("")
    assert "service manager at" in caplog.text
    manager.close()
