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
# Has its process on GPU 0, as the driver would tell it, and draws 200 W there and on GPU 1.
WORK = f"""
import os, sys, time
control = open(os.environ["NVML_STANDIN"], "a", buffering=1)
if sys.argv[1:]:
    control.write(f"0.compute {{os.getpid()}}\\n")
for step in range(1, {STEPS} + 1):
    time.sleep(0.1)
    control.write(f"0.energy {{1_000_000 + step * {STEP_MJ}}}\\n1.energy {{2_000_000 + step * {STEP_MJ}}}\\n")
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
    # The last step may be drawn after the last tick that saw the process, the first before the first.
    drawn_uj = gpus * STEPS * STEP_MJ * 1000
    assert 0.7 * drawn_uj <= job["by_domain"]["gpu"] <= drawn_uj
    assert _ask(environ["JOULEBOOK_SERVER"], "ledger")["residual_uj"] == 0
