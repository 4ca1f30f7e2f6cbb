"""What Slurm's controller has forgotten its accounting still tells, by a real slurmdbd."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.needs import need
from tests.system.servers.slurm.server import ACCOUNTING_PROGRAMS, PROGRAMS, Slurm
from tests.system.site import Site


@pytest.fixture
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
