"""`joulebook run` of commands that use or hold a GPU, from the driver's library to the printed table."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.fixtures.nvml.standin import Standin

JOULEBOOK = [sys.executable, "-m", "joulebook.cli.main"]
STEPS = 10
STEP_MJ = 20_000
# Has its process on GPU 0, as the driver would tell it, and draws 20 J a step there and on GPU 1. It waits at
# both ends until the agent has looked, however late that is on a busy machine: two Reports later it has.
WORK = f"""
import json, os, sys, time
from urllib.request import urlopen
control = open(os.environ["NVML_STANDIN"], "a", buffering=1)
def last_report():
    with urlopen(os.environ["JOULEBOOK_SERVER"] + "/api/v1/nodes") as answer:
        return json.load(answer)["nodes"][0]["last_report"]
def looked():
    for _ in range(3):
        last = last_report()
        while last_report() == last:
            time.sleep(0.05)
if sys.argv[1:]:
    control.write(f"0.compute {{os.getpid()}}\\n")
looked()
for step in range(1, {STEPS} + 1):
    time.sleep(0.1)
    control.write(f"0.energy {{1_000_000 + step * {STEP_MJ}}}\\n1.energy {{2_000_000 + step * {STEP_MJ}}}\\n")
looked()
"""


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A collector and an agent on a machine with two stand-in GPUs; what commands need to reach them."""
    environ = (
        os.environ
        | Standin(tmp_path, gpus=2).environ
        | {
            "JOULEBOOK__AGENT__SOCKET": str(tmp_path / "agent.sock"),
            "JOULEBOOK__AGENT__SPOOL": str(tmp_path / "spool"),
            "JOULEBOOK__AGENT__TICK_S": "0.1",
            "JOULEBOOK__AGENT__REPORT_S": "0.2",
            "PYTHONUNBUFFERED": "1",
        }
    )
    free = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--state-dir", str(tmp_path / "state")]
    with subprocess.Popen(
        [*JOULEBOOK, "up", *free], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as up:
        assert up.stdout is not None
        found = re.match(r"joulebook is at (http://\S+)", up.stdout.readline())
        assert found is not None
        while not _ask(found[1], "nodes")["nodes"]:
            assert up.poll() is None
            time.sleep(0.05)
        yield environ | {"JOULEBOOK_SERVER": found[1]}
        up.terminate()
        up.communicate()


def _ask(url: str, path: str) -> Any:
    with urlopen(f"{url}/api/v1/{path}") as answer:
        return json.load(answer)


@pytest.mark.parametrize(
    ("arguments", "visible", "gpus"),
    [
        pytest.param([], "1", 1, id="a GPU held by the environment, without a process"),
        pytest.param(["use"], "1", 2, id="one used, another held"),
        pytest.param([], None, 0, id="neither"),
    ],
)
def test_run_shows_the_joules_of_its_gpus(
    environ: dict[str, str], arguments: list[str], visible: str | None, gpus: int
) -> None:
    """The command is booked what its GPUs drew, the table shows it, and the books balance."""
    own = environ | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})
    ran = subprocess.run(
        [*JOULEBOOK, "run", "--job", "t", "--", sys.executable, "-c", WORK, *arguments],
        env=own,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("gpu" in ran.stderr) == (gpus > 0), ran.stderr
    job = _ask(environ["JOULEBOOK_SERVER"], "jobs/run.t")
    assert job["by_domain"]["gpu"] == gpus * STEPS * STEP_MJ * 1000
    assert _ask(environ["JOULEBOOK_SERVER"], "ledger")["residual_uj"] == 0
