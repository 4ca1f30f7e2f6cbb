"""A scheduler's prolog and epilog tell a collector of their job, and never fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from joulebook.cli.hook import EVENTS
from joulebook.cli.main import main
from joulebook.collector.api.told import parse_told
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.scheduled import Scheduled
from tests.simulated.alerts import MadeUpBook
from tests.simulated.api import LiveApi

JOB = {
    "SLURM_JOB_ID": "1241", "SLURM_ARRAY_JOB_ID": "1234", "SLURM_ARRAY_TASK_ID": "7", "SLURM_JOB_USER": "ada",
    "SLURM_JOB_ACCOUNT": "chem", "SLURM_JOB_PARTITION": "main", "SLURM_JOB_NAME": "a\nb",
}  # fmt: skip
ENDED = {"SLURM_JOB_EXIT_CODE2": "0:9", "SLURM_JOB_END_TIME": "40"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a token."""
    (tmp_path / "token").write_text("a-long-token\n")
    return tmp_path / "token"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveApi]:
    """A collector that takes what has that token."""
    with LiveApi(tmp_path / "books", MadeUpBook(), "Bearer a-long-token") as live:
        yield live


def run(event: str, url: str, file: Path, environ: dict[str, str]) -> str:
    """Run a hook; return what it says is wrong."""
    arguments = ["hook", event, "--server", url, "--token-file", str(file), "--timeout", "60"]
    ended = CliRunner().invoke(main, arguments, env=environ)
    assert (ended.exit_code, ended.stdout) == (0, "")
    return ended.stderr


def test_a_job_is_told_of_from_its_start_to_its_end(file: Path, tmp_path: Path) -> None:
    """What the prolog and the epilog know is kept under the job's id, and its array's name."""
    with LiveApi(tmp_path / "books", MadeUpBook(), "Bearer a-long-token") as live:
        url = f"http://{live.addresses.http}"
        assert run("slurm-prolog", url, file, JOB | {"SLURM_JOB_START_TIME": "20"}) == ""
        assert run("slurm-epilog", url, file, JOB | ENDED) == ""
    store = DuckDBStore(tmp_path / "books")
    found = store.scheduled()["slurm.1241"]
    store.close()
    assert found == Scheduled(
        "1234_7", "ada", "chem", "main", "a\\nb", "", "FAILED", start_us=20_000_000, end_us=40_000_000,
        exit_status=137, told_us=found.told_us,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "token", "environ", "said"),
    [
        ("http://127.0.0.1:1", "x", JOB, "no collector answers at http://127.0.0.1:1"),
        ("", "wrong", JOB, "another authorization: expected the header"),
        ("", None, JOB, "cannot be read (No such file or directory)"),
        ("", "x", {}, "SLURM_JOB_ID '': expected a number"),
        ("ftp://x", "x", JOB, "expected a URL like"),
    ],
)
def test_it_says_what_is_wrong_and_does_not_fail(
    live: LiveApi, file: Path, url: str, token: str | None, environ: dict[str, str], said: str
) -> None:
    """A hook that failed would take the node out of service; it says why on stderr instead."""
    file.unlink() if token is None else file.write_text(token)
    assert said in run("slurm-epilog", url or f"http://{live.addresses.http}", file, environ)


@given(st.sampled_from(sorted(EVENTS)), st.dictionaries(st.sampled_from([*JOB, *ENDED]), st.text()))
def test_whatever_a_job_is_called_it_can_be_told(event: str, odd: dict[str, str]) -> None:
    """Names that hold anything at all are told in a form that the collector takes."""
    plain = {"SLURM_JOB_ID": "7", "SLURM_JOB_START_TIME": "", "SLURM_JOB_END_TIME": ""}
    told = EVENTS[event](JOB | odd | plain)
    (job,) = parse_told(json.dumps({"jobs": [told]}).encode(), 1)
    assert job == "slurm.7"
