"""GPUs that a real Slurm gives to jobs: what they draw is booked to those who hold them."""

import asyncio
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joulebook.collector.schedulers.config import SlurmConfig
from joulebook.collector.schedulers.slurm import SlurmCommands
from joulebook.collector.schedulers.slurmrest import SlurmRest
from joulebook.collector.schedulers.stats import SchedulerStats
from tests.fixtures.nvml.standin import Standin
from tests.system.needs import need
from tests.system.servers.slurm.server import Slurm
from tests.system.site import Site

STEP_MJ = 1_000
MEMORY = "--mem=50M"


class Gpus:
    """A site with two stand-in GPUs, all of whose energy is their idle floor."""

    def __init__(self, directory: Path, slurm: Slurm) -> None:
        self._standin = Standin(directory, gpus=2)
        self._drawn_mj = [0, 0]
        self.site = Site(
            directory,
            environment={
                **self._standin.environ,
                "JOULEBOOK__AGENT__IDLE_POWER_MW": '{"cpu.0" = 1, "gpu.0" = 900000, "gpu.1" = 900000}',
                "JOULEBOOK__COLLECTOR__SLURM__PERIOD_S": "1",
                "JOULEBOOK__COLLECTOR__SLURM__SLURM_CONF": str(slurm.configuration),
            },
        )
        self.site.start("collector")
        self.site.start("agent")
        # What its counters show from then on is booked.
        self.site.until(lambda answer: bool(answer["nodes"]), "nodes")

    def close(self) -> None:
        """End the site."""
        for program in list(self.site.running):
            self.site.end(program, signal.SIGKILL)
        self.site.counter.close()

    def draw(self) -> None:
        """Have each GPU draw a step of energy."""
        for gpu in range(2):
            self._drawn_mj[gpu] += STEP_MJ
            self._standin.turn(gpu, energy=1_000_000 * (gpu + 1) + self._drawn_mj[gpu])
        self._standin.set()

    def held_by(self, *jobs: str) -> None:
        """Have them draw until these jobs, and no others, are booked parts of it, each a step at least."""

        def booked(answer: Any) -> bool:
            self.draw()
            found = {one["account"]: one["by_domain"]["gpu"] for one in answer["accounts"]}
            return all(found.get(f"job:slurm.{job}", 0) > 0 for job in jobs)

        self.site.until(booked)
        self._all_booked()

    def steps(self, count: int) -> dict[str, int]:
        """Return what of so many steps of each GPU was booked to whom, and to all as idle energy."""
        before = self._all_booked()
        for _ in range(count):
            self.draw()
        after = self._all_booked()
        return {name: left for name, uj in after.items() if (left := uj - before.get(name, 0))}

    def _all_booked(self) -> dict[str, int]:
        """Wait until all that was drawn is in the books; return each account's."""

        def gpu_uj(answer: Any) -> dict[str, int]:
            return {one["account"]: one["by_domain"]["gpu"] for one in answer["accounts"]}

        drawn_uj = sum(self._drawn_mj) * 1000
        ledger = self.site.until(lambda answer: sum(gpu_uj(answer).values()) == drawn_uj)
        assert ledger["residual_uj"] == 0
        return gpu_uj(ledger)


@pytest.fixture
def gpus(tmp_path: Path, slurm: Slurm) -> Iterator[Gpus]:
    """Start the GPUs and the site."""
    need("" if shutil.which("slurmrestd") else "slurmrestd: deploy/install-packages")
    made = Gpus(tmp_path, slurm)
    yield made
    made.close()


def test_a_gpu_that_a_job_was_given_is_its_own(gpus: Gpus, slurm: Slurm) -> None:
    """A job that does nothing with its GPU pays for that one's floor, and Slurm tells how many it has."""
    note = f"{slurm.notes}/$SLURM_JOB_ID"
    job = slurm.submit(
        f"echo $SLURM_JOB_GPUS >{note}; exec sleep 3600", "--gres=gpu:1", "--uid=nobody", MEMORY
    )
    gpus.held_by(job)
    assert gpus.steps(10) == {f"job:slurm.{job}": 10 * STEP_MJ * 1000, "idle": 10 * STEP_MJ * 1000}
    assert (slurm.notes / job).read_text() in ("0\n", "1\n")
    told = gpus.site.until(lambda answer: answer["scheduler"] is not None, f"jobs/slurm.{job}")
    assert (told["scheduler"]["gpus"], told["active_by_domain"]["gpu"]) == (1, 0)
    # Without accounting, of whose GPUs Slurm counts none, and of a job that there is none of.
    config = SlurmConfig(slurm_conf=str(slurm.configuration), rest=slurm.start_rest())
    stats = SchedulerStats()
    by_command = asyncio.run(SlurmCommands(config, stats, lambda: 1).jobs([job, "1"]))
    by_rest = asyncio.run(SlurmRest(config, stats, lambda: 1).jobs([job, "1"]))
    assert by_rest == by_command
    assert by_rest.keys() == {job}
    slurm.cancel(job)
    gpus.site.until(lambda answer: answer["state"] == "ended", f"jobs/slurm.{job}")
    both = slurm.submit("exec sleep 3600", "--gpus-per-node=2", MEMORY)
    gpus.held_by(both)
    assert gpus.steps(10) == {f"job:slurm.{both}": 20 * STEP_MJ * 1000}
    told = gpus.site.until(lambda answer: answer["scheduler"] is not None, f"jobs/slurm.{both}")
    assert told["scheduler"]["gpus"] == 2


def test_jobs_that_share_a_gpu_pay_for_their_shards(gpus: Gpus, slurm: Slurm) -> None:
    """Two jobs with one and three shards of a GPU pay a quarter and three of its floor."""
    note = f"echo $SLURM_JOB_GPUS >{slurm.notes}/$SLURM_JOB_ID"
    one, three = (
        slurm.submit(f"{note}; exec sleep 3600", f"--gres=shard:{count}", MEMORY) for count in (1, 3)
    )
    gpus.held_by(one, three)
    assert (slurm.notes / one).read_text() == (slurm.notes / three).read_text()
    # Both were there when the last step was drawn, and so they are now.
    part_uj = STEP_MJ * 1000 // 4
    assert gpus.steps(8) == {
        f"job:slurm.{one}": 8 * part_uj,
        f"job:slurm.{three}": 24 * part_uj,
        "idle": 32 * part_uj,
    }
    told = gpus.site.until(lambda answer: answer["scheduler"] is not None, f"jobs/slurm.{one}")
    assert told["scheduler"]["gpus"] == 0
