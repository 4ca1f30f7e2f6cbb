"""What Slurm's controller has forgotten its accounting still tells, by a real slurmdbd."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from joulebook.collector.schedulers.config import SlurmConfig
from joulebook.collector.schedulers.slurm import SlurmCommands
from joulebook.collector.schedulers.slurmrest import SlurmRest
from joulebook.collector.schedulers.source import Source
from joulebook.collector.schedulers.stats import SchedulerStats
from joulebook.collector.store.scheduled import Scheduled
from tests.system.needs import need
from tests.system.servers.slurm.server import ACCOUNTING_PROGRAMS, PROGRAMS, Slurm
from tests.system.site import Site

_UNTOLD: dict[str, Any] = {"exit_status": None, "user": ""}


@pytest.fixture(scope="module")
def accounting() -> Iterator[Slurm]:
    """Start Slurm with slurmdbd and a database of its own."""
    lacking = [name for name in (*PROGRAMS, *ACCOUNTING_PROGRAMS) if shutil.which(name) is None]
    if lacking or os.getuid() != 0:
        need(f"root and {', '.join(lacking) or 'the right to make cgroups'}: deploy/install-packages")
    with (
        tempfile.TemporaryDirectory(prefix="joulebook-slurm-") as name,
        Slurm(Path(name), nodes=2, accounting=True) as slurm,
    ):
        yield slurm


def test_slurmrestd_says_what_the_commands_do(accounting: Slurm, tmp_path: Path) -> None:
    """By a unix socket, and by http with a token: of what the controller knows, and what it has forgotten."""
    common = ("--account=chem", "--mem=100M")
    name = 'a"b\\c\né'
    runs = accounting.submit("exec sleep 3600", "--gres=gpu:1", f"--job-name={name}", *common)
    bytes_ = accounting.submit("true", os.fsdecode(b"--job-name=a\xff\xfeb"), *common)
    array = accounting.submit("true", "--array=5", "--uid=nobody", *common)
    fails = accounting.submit("exit 3", *common)
    killed = accounting.submit("kill -9 $$", *common)
    first = accounting.submit("srun --het-group=0,1 true", *common, ":", *common)
    numbers = [runs, bytes_, array, fails, killed, first, str(int(first) + 1), "1"]
    for number, state in ((runs, "RUNNING"), (fails, "FAILED"), (killed, "FAILED")):
        accounting.wait_for_accounting(number, state)
    # The parts of the last one begin on nodes of their own.
    for number in (bytes_, array, f"{first}+0", f"{first}+1"):
        accounting.wait_for_accounting(number, "COMPLETED")
    (tmp_path / "token").write_text(accounting.token())
    unix, http = accounting.start_rest(), accounting.start_rest_with_tokens()
    configurations = (
        SlurmConfig(slurm_conf=str(accounting.configuration)),
        SlurmConfig(rest=unix),
        SlurmConfig(rest=http, rest_credentials=str(tmp_path / "token")),
    )
    assert [each.errors() for each in configurations] == [[], [], []]

    def said(config: SlurmConfig) -> dict[str, Scheduled]:
        stats = SchedulerStats()
        source: Source = SlurmCommands(config, stats, lambda: 1)
        if config.rest:
            source = SlurmRest(config, stats, lambda: 1)
        return asyncio.run(source.jobs(numbers))

    # What has ended is put away by and by.
    while any(one.state == "COMPLETING" for one in said(configurations[0]).values()):
        pass
    by_command, *by_rest = map(said, configurations)
    assert by_command.keys() == set(numbers[:-1])
    assert by_rest == [by_command, by_command]
    assert by_command[fails].exit_status == 3
    accounting.cancel(runs)
    accounting.wait_for_accounting(runs, "CANCELLED+")
    accounting.forget()
    by_command, *by_rest = map(said, configurations)
    assert by_command.keys() == set(numbers[:-1])
    assert (by_command[runs].gpus, by_command[fails].exit_status) == (1, 3)
    # What 22.05 does not tell there, and what it tells of a user without an association.
    told = {number: replace(one, **_UNTOLD) for number, one in by_command.items()}
    assert [{number: replace(one, **_UNTOLD) for number, one in each.items()} for each in by_rest] == [
        told,
        told,
    ]


def test_a_job_that_squeue_has_forgotten_is_told_of_by_sacct(accounting: Slurm, tmp_path: Path) -> None:
    """An array's task, a heterogeneous job and one that fails end before the controller loses its state."""
    asked = {"PERIOD_S": "1", "SQUEUE": str(tmp_path / "squeue"), "SLURM_CONF": str(accounting.configuration)}
    site = Site(
        tmp_path, environment={f"JOULEBOOK__COLLECTOR__SLURM__{name}": value for name, value in asked.items()}
    )
    try:
        site.start("collector")
        site.start("agent")
        site.until(lambda ledger: ledger["measured_uj"] > 0)
        common = ("--account=chem", "--mem=100M")
        array = accounting.submit("sleep 1", "--array=5", "--job-name=many", "--uid=nobody", *common)
        fails = accounting.submit(
            "sleep 1; exit 3", "--job-name=a|b", "--uid=nobody", "--gres=gpu:1", *common
        )
        parts = ("--uid=nobody", "--job-name=one", *common, ":", "--job-name=other", *common)
        first = accounting.submit("srun --het-group=0,1 sleep 2", *parts)
        other = str(int(first) + 1)
        names = {f"slurm.{number}" for number in (array, fails, first, other)}

        def own(answer: Any) -> dict[str, Any]:
            return {job["job"]: job for job in answer["jobs"] if job["job"] in names}

        seen = own(site.until(lambda answer: own(answer).keys() == names, "jobs?state=ended"))
        # A node tells of a part what its tasks are told, in which the number is the first part's.
        assert [seen[f"slurm.{part}"]["name"] for part in (first, other)] == ["one", "other"]
        accounting.wait_for_accounting(fails, "FAILED")
        for number in (array, other):
            accounting.wait_for_accounting(number, "COMPLETED")
        accounting.forget()
        (tmp_path / "squeue").symlink_to(str(shutil.which("squeue")))
        found = own(site.until(lambda answer: own(answer).keys() == names, "jobs?account=chem"))
        told = {
            job["scheduler"]["known_as"] or job["job"]: (job["name"], job["user"], job["exit_status"])
            for job in found.values()
        }
        assert told == {
            f"{array}_5": ("many", "nobody", 0),
            f"slurm.{fails}": ("a|b", "nobody", 3),
            f"{first}+0": ("one", "nobody", 0),
            f"{first}+1": ("other", "nobody", 0),
        }
        for scheduler in (job["scheduler"] for job in found.values()):
            what = [scheduler[name] for name in ("partition", "cpus", "memory_bytes")]
            assert what == ["main", 1, 100 << 20]
            assert scheduler["gpus"] == (1 if scheduler["state"] == "FAILED" else None)
            assert scheduler["submit"] <= scheduler["start"] <= scheduler["end"]
    finally:
        for program in list(site.running):
            site.end(program, signal.SIGKILL)
        site.counter.close()
