"""slurmrestd is asked by http and by a unix socket; whatever it does then, it is told of clearly."""

from __future__ import annotations

import asyncio
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from joulebook.collector.schedulers.config import SlurmConfig
from joulebook.collector.schedulers.slurmrest import RestError, SlurmRest
from joulebook.collector.schedulers.stats import SchedulerStats

_API: dict[str, object] = {"paths": {"/slurm/v0.0.38/job/{job_id}": {}, "/slurmdb/v0.0.38/jobs": {}}}
_NONE = {"errors": [{"error_number": 2017, "error": "Invalid job id specified"}], "jobs": []}


def job(number: int, **more: object) -> dict[str, object]:
    """Return an answer about a job."""
    return {"errors": [], "jobs": [{"job_id": number, **more}]}


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class Server:
    """Answers paths with what is set; notes who asked."""

    def __init__(self, unix: Path | None = None) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.headers = {name.lower(): value for name, value in self.headers.items()}
                status, body = outer.answers.get(self.path, (404, b"Unable find requested URL."))
                self.send_response(status)
                kind = "application/json" if body.startswith(b"{") else "text/plain"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

            def address_string(self) -> str:
                return ""

        self._server: socketserver.BaseServer
        if unix:
            self._server = _Unix(str(unix), Handler)
            self.url = f"unix:{unix}"
        else:
            self._server = tcp = _Tcp(("127.0.0.1", 0), Handler)
            self.url = f"http://127.0.0.1:{tcp.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.say("/openapi/v3", _API)

    def say(self, path: str, answer: object, status: int = 200) -> None:
        """Set an answer."""
        self.answers[path] = (status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def close(self) -> None:
        """Answer nothing more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(params=["http", "unix"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Start a server."""
    made = Server(tmp_path / "rest" if request.param == "unix" else None)
    yield made
    made.close()


def rest(server: Server, **more: object) -> SlurmRest:
    config = SlurmConfig(rest=server.url, timeout_s=60.0, **more)  # type: ignore[arg-type]
    assert config.errors() == []
    return SlurmRest(config, SchedulerStats(), lambda: 7)


def test_accounting_knows_what_the_controller_forgot(server: Server) -> None:
    """Each job is asked of the controller, those that it does not know of accounting, in one request."""
    server.say("/slurm/v0.0.38/job/1", job(1, name="one"))
    for number in (2, 3):
        server.say(f"/slurm/v0.0.38/job/{number}", _NONE, 500)
    path = "/slurmdb/v0.0.38/jobs?skip_steps=true&step=2%2C3"
    server.say(path, job(2, name="two", state={"current": "COMPLETED"}))
    asking = rest(server)
    found = asyncio.run(asking.jobs(["1", "2", "3"]))
    assert {number: one.name for number, one in found.items()} == {"1": "one", "2": "two"}
    assert server.asked[0] == "/openapi/v3"
    assert server.asked[-1] == path
    asyncio.run(asking.jobs(["1"]))
    assert server.asked.count("/openapi/v3") == 1
    server.asked.clear()
    assert asyncio.run(rest(server, sacct="").jobs(["2"])) == {}
    assert path not in server.asked


def test_accounting_that_is_not_served(server: Server) -> None:
    """A slurmrestd that only describes accounting's questions has none; it is not asked again."""
    server.say("/slurm/v0.0.38/job/1", job(1))
    server.say("/slurm/v0.0.38/job/2", _NONE, 500)
    asking = rest(server)
    assert asyncio.run(asking.jobs(["1", "2"])).keys() == {"1"}
    server.asked.clear()
    assert asyncio.run(asking.jobs(["2"])) == {}
    assert server.asked == ["/slurm/v0.0.38/job/2"]


@pytest.mark.parametrize(
    ("offered", "asked"), [((36, 38, 37), 38), ((43, 46, 47), 46), ((50, 49), 49), ((9, 40), 40)]
)
def test_the_newest_known_version_is_asked(server: Server, offered: tuple[int, ...], asked: int) -> None:
    """Of several the newest whose answers are known, of newer ones the oldest."""
    server.say("/openapi/v3", {"paths": {f"/slurm/v0.0.{n}/job/{{job_id}}": {} for n in offered}})
    server.say(f"/slurm/v0.0.{asked}/job/1", job(1))
    assert asyncio.run(rest(server).jobs(["1"])).keys() == {"1"}


def test_another_version_is_found_after_an_update(server: Server) -> None:
    """Where the paths are gone, which there are is asked again next time."""
    server.say("/slurm/v0.0.38/job/1", job(1))
    asking = rest(server)
    asyncio.run(asking.jobs(["1"]))
    del server.answers["/slurm/v0.0.38/job/1"]
    server.say("/openapi/v3", {"paths": {"/slurm/v0.0.40/job/{job_id}": {}}})
    server.say("/slurm/v0.0.40/job/1", job(1))
    with pytest.raises(RestError, match=r"404 Not Found to /slurm/v0\.0\.38/job/1"):
        asyncio.run(asking.jobs(["1"]))
    assert asyncio.run(asking.jobs(["1"])).keys() == {"1"}


def test_credentials_are_read_each_time(server: Server, tmp_path: Path) -> None:
    """A token goes with its user's name, or the collector's; a renewed one is used at once."""
    server.say("/slurm/v0.0.38/job/1", job(1))
    file = tmp_path / "token"
    file.write_text("slurm:aaa.bbb\n")
    asking = rest(server, rest_credentials=str(file))
    asyncio.run(asking.jobs(["1"]))
    assert (server.headers["x-slurm-user-name"], server.headers["x-slurm-user-token"]) == ("slurm", "aaa.bbb")
    file.write_text("SLURM_JWT=ccc.ddd\n")
    asyncio.run(asking.jobs(["1"]))
    assert server.headers["x-slurm-user-token"] == "ccc.ddd"
    file.unlink()
    with pytest.raises(RestError, match=r"rest_credentials = .* cannot be read"):
        asyncio.run(asking.jobs(["1"]))


@pytest.mark.parametrize(
    ("path", "status", "said", "why"),
    [
        ("/openapi/v3", 401, b"Authentication failure", "401 Unauthorized to /openapi/v3 .'Authent"),
        ("/openapi/v3", 200, b"<html>", "no description of its API"),
        ("/openapi/v3", 200, b'{"paths": {"/slurm/v0.0.38/ping": {}}}', "it serves no /slurm/"),
        ("/slurm/v0.0.38/job/1", 200, b"<html>", "never says"),
        ("/slurm/v0.0.38/job/1", 500, b'{"errors": [{"error_number": 1, "error": "down"}]}', "error 1 .down"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told_of(server: Server, path: str, status: int, said: bytes, why: str) -> None:
    """Who was asked, for what, and what it said instead."""
    server.say(path, said, status)
    with pytest.raises(RestError, match=f"slurmrestd at {server.url}: .*{why}"):
        asyncio.run(rest(server).jobs(["1"]))


def test_names_may_hold_any_bytes(server: Server) -> None:
    """A job whose name is no UTF-8 stands in nobody's way."""
    server.say("/slurm/v0.0.38/job/1", b'{"jobs": [{"job_id": 1, "name": "a\xff\xfeb"}]}')
    assert asyncio.run(rest(server).jobs(["1"]))["1"].name == "a\ufffd\ufffdb"


def test_nobody_listens(tmp_path: Path) -> None:
    """Where it does not run that is said, and an answer is waited for no longer than is set."""
    config = SlurmConfig(rest=f"unix:{tmp_path}/rest", timeout_s=60.0)
    with pytest.raises(RestError, match="No such file"):
        asyncio.run(SlurmRest(config, SchedulerStats(), lambda: 7).jobs(["1"]))
    silent = socketserver.UnixStreamServer(f"{tmp_path}/rest", BaseHTTPRequestHandler)
    short = SlurmRest(SlurmConfig(rest=f"unix:{tmp_path}/rest", timeout_s=0.2), SchedulerStats(), lambda: 7)
    with silent, pytest.raises(RestError, match="no answer within"):
        asyncio.run(short.jobs(["1"]))


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"rest": "ftp://x"}, "expected http://host:port"),
        ({"rest": "http://"}, "expected http://host:port"),
        ({"rest": "http://user:x@host:6820"}, "expected http://host:port"),
        ({"rest": "http://host:x"}, "expected http://host:port"),
        ({"rest": "unix:relative"}, "expected http://host:port"),
        ({"rest": "http://host:6820", "rest_credentials": __file__}, "without TLS"),
        ({"rest_credentials": "/nowhere"}, "no such file"),
    ],
)
def test_what_it_can_be_told(config: dict[str, str], wrong: str) -> None:
    """Addresses that are none, and tokens that anybody could read on the way, are refused."""
    (error,) = SlurmConfig(**config).errors()  # type: ignore[arg-type]
    assert wrong in error
    assert SlurmConfig(rest="http://host:6820", rest_credentials=__file__).errors(insecure=True) == []
