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
        Slurm(Path(name), accounting=True) as slurm,
    ):
        yield slurm


def test_a_job_that_squeue_has_forgotten_is_told_of_by_sacct(accounting: Slurm, tmp_path: Path) -> None:
    """An array's task and a job that fails end while nobody asks; then the controller loses its state."""
    asked = {"PERIOD_S": "1", "SQUEUE": str(tmp_path / "squeue"), "SLURM_CONF": str(accounting.configuration)}
    site = Site(
        tmp_path, environment={f"JOULEBOOK__COLLECTOR__SLURM__{name}": value for name, value in asked.items()}
    )
    try:
        site.start("collector")
        site.start("agent")
        site.until(lambda ledger: ledger["measured_uj"] > 0)
        common = ("--account=chem", "--mem=100M", "--uid=nobody")
        array = accounting.submit("sleep 1", "--array=5", "--job-name=many", *common)
        fails = accounting.submit("sleep 1; exit 3", "--job-name=a|b", "--time=5", *common)
        names = {f"slurm.{array}", f"slurm.{fails}"}
        site.until(lambda answer: names <= {job["job"] for job in answer["jobs"]}, "jobs?state=ended")
        accounting.wait_for_accounting(array, "COMPLETED")
        accounting.wait_for_accounting(fails, "FAILED")
        accounting.forget()
        (tmp_path / "squeue").symlink_to(str(shutil.which("squeue")))

        def own(answer: Any) -> dict[str, Any]:
            return {job["job"]: job for job in answer["jobs"] if job["job"] in names}

        found = own(site.until(lambda answer: own(answer).keys() == names, "jobs?account=chem"))
        told = {
            job["scheduler"]["known_as"] or job["name"]: (
                job["user"],
                job["scheduler"]["state"],
                job["exit_status"],
            )
            for job in found.values()
        }
        assert told == {f"{array}_5": ("nobody", "COMPLETED", 0), "a|b": ("nobody", "FAILED", 3)}
        for job in found.values():
            scheduler = job["scheduler"]
            assert (scheduler["partition"], scheduler["cpus"], scheduler["memory_bytes"]) == (
                "main",
                1,
                100 << 20,
            )
            assert scheduler["submit"] <= scheduler["start"] <= scheduler["end"]
    finally:
        for program in list(site.running):
            site.end(program, signal.SIGKILL)
        site.counter.close()
