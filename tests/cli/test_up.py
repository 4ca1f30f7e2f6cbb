"""`joulebook up` and `joulebook run` as a user has them, on this machine's own readings."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

JOULEBOOK = [sys.executable, "-m", "joulebook.cli.main"]
FREE = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]


@dataclass(slots=True)
class Up:
    """A running `joulebook up`."""

    process: subprocess.Popen[str]
    url: str
    environ: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command against it."""
        return subprocess.run(
            [*JOULEBOOK, *arguments], env=self.environ, capture_output=True, text=True, check=False
        )


def _environ(tmp_path: Path) -> dict[str, str]:
    return os.environ | {
        "JOULEBOOK__AGENT__SOCKET": str(tmp_path / "agent.sock"),
        "JOULEBOOK__AGENT__SPOOL": str(tmp_path / "spool"),
        "JOULEBOOK__AGENT__TICK_S": "0.1",
        "JOULEBOOK__AGENT__REPORT_S": "0.2",
        "JOULEBOOK__AGENT__NODE": "here",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Both programs on free ports; whatever the test does, they are ended."""
    environ = _environ(tmp_path)
    process = subprocess.Popen(
        [*JOULEBOOK, "up", *FREE, "--state-dir", str(tmp_path / "state")],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    found = re.match(r"joulebook is at (http://\S+)", process.stdout.readline())
    assert found is not None
    yield Up(process, found[1], environ | {"JOULEBOOK_SERVER": found[1]})
    if process.poll() is None:
        process.terminate()
    process.wait()
    process.stdout.close()


def _until(up: Up, path: str, holds: Any) -> Any:
    """Ask until the answer is as it should be; up's own end ends the wait."""
    while True:
        with urlopen(f"{up.url}/api/v1/{path}") as answer:
            found = json.load(answer)
        if holds(found):
            return found
        assert up.process.poll() is None
        time.sleep(0.05)


def test_run_books_a_command(up: Up) -> None:
    """A command is booked as a job and exits with its own status; the books balance."""
    _until(up, "nodes", lambda found: found["nodes"])
    script = "sum(range(3_000_000)); import sys; print('out'); sys.exit(7)"
    ran = up.run("run", "--job", "t1", "--name", "busy", "--", sys.executable, "-c", script)
    assert (ran.returncode, ran.stdout) == (7, "out\n")
    assert "run.t1" in ran.stderr
    job = _until(up, "jobs/run.t1", lambda found: found["state"] == "ended")
    assert (job["name"], job["nodes"], job["exit_status"]) == ("busy", ["here"], 7)
    with urlopen(f"{up.url}/api/v1/ledger") as answer:
        assert json.load(answer)["residual_uj"] == 0


def test_run_writes_json(up: Up, tmp_path: Path) -> None:
    """--json prints the job after what the command printed; --output writes it to a file."""
    _until(up, "nodes", lambda found: found["nodes"])
    output = tmp_path / "job.json"
    ran = up.run("run", "--json", "--job", "t2", "--output", str(output), "true")
    assert ran.returncode == 0
    assert json.loads(ran.stdout) == json.loads(output.read_text())
    assert json.loads(ran.stdout)["job"] == "run.t2"


def test_up_shows_power_and_stops_in_order(up: Up) -> None:
    """up says where power goes, and on SIGTERM stops the agent, then the collector, and exits with 0."""
    _until(up, "nodes", lambda found: found["nodes"] and found["nodes"][0]["power_mw"])
    assert up.process.stdout is not None
    line = next(line for line in up.process.stdout if "waiting" not in line)
    assert re.match(r"[0-9.]+ .?W:  ", line)
    up.process.send_signal(signal.SIGTERM)
    rest, _ = up.process.communicate()
    assert rest.index("agent stopped") < rest.index("collector stopped")
    assert up.process.returncode == 0


def _agent_of(up: Up) -> int:
    """Return the agent's pid. A process that is just being executed has no command line for a moment."""
    while True:
        children = Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children").read_text().split()
        for child in children:
            if b"agent" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return int(child)
        assert up.process.poll() is None


def test_child_that_dies_is_told(up: Up) -> None:
    """When the agent dies, up says so with the end of its log, stops the collector and exits with 1."""
    os.kill(_agent_of(up), signal.SIGKILL)
    rest, _ = up.process.communicate()
    assert up.process.returncode == 1
    assert "the agent ended by SIGKILL; the end of" in rest
    assert "collector stopped" in rest


def test_port_that_is_taken(tmp_path: Path) -> None:
    """A port that something else has is named with what to do, and the exit status is 1."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        ended = subprocess.run(
            [*JOULEBOOK, "up", *FREE, "--http", address, "--state-dir", str(tmp_path)],
            env=_environ(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert f"collector.http = '{address}': cannot listen there" in ended.stderr
    assert "another port with --http" in ended.stderr


@pytest.mark.parametrize("status", [0, 3])
def test_run_without_an_agent(tmp_path: Path, status: int) -> None:
    """Without an agent the command runs all the same, with a warning and its own status."""
    ran = subprocess.run(
        [*JOULEBOOK, "run", "--server", "http://127.0.0.1:1", "--", "sh", "-c", f"exit {status}"],
        env=_environ(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (status, "")
    assert "no joulebook agent answers" in ran.stderr


def test_run_with_a_faulty_configuration(tmp_path: Path) -> None:
    """A fault in the configuration is told and keeps no command from running."""
    environ = _environ(tmp_path) | {"JOULEBOOK__AGENT__NOD": "x"}
    ran = subprocess.run(
        [*JOULEBOOK, "run", "echo", "done"], env=environ, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "done\n")
    assert "JOULEBOOK__AGENT__NOD: unknown key; did you mean 'node'?" in ran.stderr
