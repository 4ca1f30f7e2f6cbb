"""Slurm is asked about what is not known, and whatever it does then, nothing else is held up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulebook.collector.schedulers.asking import Asking
from joulebook.collector.schedulers.command import CommandError
from joulebook.collector.schedulers.config import SlurmConfig
from joulebook.collector.schedulers.slurm import SlurmCommands
from joulebook.collector.schedulers.source import KUBERNETES, SLURM
from joulebook.collector.schedulers.stats import SchedulerStats
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.scheduled import Scheduled
from tests.simulated.delivery import decoded, deliver
from tests.simulated.node import WALL_US, Load, SimulatedNode

# Says of each job that it is asked about what is in a file of its number, and notes who was asked about.
_ANSWER = """#!/bin/sh
for one; do case $one in
    --jobs=*) numbers=${one#--jobs=};;
    --Format=*) mark=${one##*tres-per-task:255};;
    --delimiter=*) mark=${one#--delimiter=};;
esac; done
echo "$numbers" >>%(directory)s/%(name)s.asked
for number in $(echo "$numbers" | tr , ' '); do
    [ -f %(directory)s/%(name)s.$number ] && sed "s/,/$mark/g" %(directory)s/%(name)s.$number
done
exit 0
"""


@dataclass(slots=True)
class Site:
    """A store with a running and an ended job of Slurm's, and one of nobody's; and commands to ask."""

    directory: Path
    store: DuckDBStore = field(default_factory=lambda: DuckDBStore(":memory:"))
    stats: SchedulerStats = field(default_factory=SchedulerStats)
    now_us: int = WALL_US
    node: SimulatedNode = field(default_factory=lambda: SimulatedNode(name="n1", boot=bytes(16)))

    def runs(self, *jobs: str, ended: str = "") -> None:
        """Have jobs run for a tick, and one end."""
        self.node.begin([Load(job, cpu_us=1_000, user="root") for job in jobs])
        self.node.tick()
        report = self.node.report()
        if ended:
            report.ended.add(workload_id=ended, end_unix_us=WALL_US, exit_status=0)
        deliver(self.store, [decoded(self.node, [report])])

    def command(self, name: str, script: str = _ANSWER) -> str:
        """Make a command."""
        file = self.directory / name
        file.write_text(script % {"directory": self.directory, "name": name} if script is _ANSWER else script)
        file.chmod(0o755)
        return str(file)

    def knows(self, name: str, number: int, known_as: str, state: str, end: str = "N/A") -> None:
        """Have a command know of a job."""
        line = f"{number},{known_as},ada,chem,main,x,{state},,1790000000,1790000001,{end},0,"
        line += "N/A,N/A,N/A,N/A," if name == "squeue" else ""
        (self.directory / f"{name}.{number}").write_text(line + "\n")

    def asked(self, name: str) -> list[str]:
        """Return whom a command was asked about since it was asked after last."""
        file = self.directory / f"{name}.asked"
        numbers = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return numbers

    def asking(self, **config: object) -> Asking:
        """Return who asks."""
        made = SlurmConfig(**{"period_s": 10.0, "timeout_s": 60.0, "sacct": ""} | config)  # type: ignore[arg-type]
        source = SlurmCommands(made, self.stats, lambda: self.now_us)
        return Asking(self.store, SLURM, source, made.period_s, self.stats, lambda: self.now_us)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Slurm's jobs 7 (and 7 of another slurmd) and 8 run, 6 ended."""
    site = Site(tmp_path)
    site.runs("slurm.6", "slurm.7", "slurm.7.2", "slurm.8", "run.1", "slurm.x")
    site.runs("slurm.7", "slurm.7.2", "slurm.8", "run.1", "slurm.x", ended="slurm.6")
    yield site
    site.store.close()


def test_each_job_is_asked_about_until_it_is_known(site: Site) -> None:
    """What runs is asked about once, what ended once more; sacct knows longer; what nobody knows rests."""
    site.knows("squeue", 7, "5_7", "RUNNING")
    site.knows("sacct", 6, "6", "FAILED", "1790000009")
    asking = site.asking(squeue=site.command("squeue"), sacct=site.command("sacct"))
    assert asyncio.run(asking.ask()) == 3
    told = site.store.scheduled()
    assert told.keys() == {"slurm.6", "slurm.7", "slurm.7.2"}
    assert (told["slurm.7"], told["slurm.7"].end_us) == (told["slurm.7.2"], None)
    assert (told["slurm.7"].known_as, told["slurm.7"].account, told["slurm.6"].state) == (
        "5_7",
        "chem",
        "FAILED",
    )
    assert (site.asked("squeue"), site.asked("sacct")) == (["6,7,8"], ["6,8"])
    # Soon again: there is nothing to ask about.
    assert asyncio.run(asking.ask()) == 0
    assert site.asked("squeue") == []
    site.now_us += 20_000_000
    site.knows("squeue", 7, "5_7", "COMPLETED", "1790000009")
    site.runs("slurm.8", ended="slurm.7")
    assert asyncio.run(asking.ask()) == 2
    assert site.store.scheduled()["slurm.7"].state == "COMPLETED"
    assert site.asked("squeue") == ["7,8"]
    # Nobody knows of 8: after two answers without it, it rests for four periods.
    for _ in range(4):
        site.now_us += 10_000_000
        assert asyncio.run(asking.ask()) == 0
    assert site.asked("squeue") == ["8"]
    assert (site.stats.working, site.stats.failures) == (True, 0)


def test_what_was_told_before_a_failure_is_kept(site: Site) -> None:
    """Asked in parts, what the first part told is known, and the rest is asked for alone."""
    asking, source = site.asking(), SlurmCommands(SlurmConfig(), site.stats, lambda: site.now_us)

    async def jobs(numbers: Sequence[str]) -> dict[str, Scheduled]:
        if numbers == ["8"]:
            raise CommandError("squeue: no answer within 20 s")
        return {number: Scheduled(state="FAILED", end_us=WALL_US) for number in numbers}

    source.at_once, source.jobs = 2, jobs  # type: ignore[method-assign]
    asking._source = source
    with pytest.raises(CommandError, match="no answer"):
        asyncio.run(asking.ask())
    assert site.store.scheduled().keys() == {"slurm.6", "slurm.7", "slurm.7.2"}
    assert site.stats.told_jobs == 3


def test_pods_are_asked_about_until_they_run(site: Site) -> None:
    """By their UIDs; one that waits to start is asked about again, one that runs is not."""
    uid, hashed = "0a1b2c3d-1111-2222-3333-444455556666", "9f3c" * 8
    site.runs("slurm.7", f"k8s.{uid}", f"k8s.{hashed}", "k8s.x")
    state, asked = "Pending (ContainerCreating)", []

    class Pods:
        at_once = 9

        async def jobs(self, numbers: Sequence[str]) -> dict[str, Scheduled]:
            asked.append(sorted(numbers))
            return {uid: Scheduled(state=state, name="prod/web-0")}

    asking = Asking(site.store, KUBERNETES, Pods(), 10.0, site.stats, lambda: site.now_us)
    assert asyncio.run(asking.ask()) == 1
    assert site.store.scheduled()[f"k8s.{uid}"].state == state
    state = "Running"
    assert asyncio.run(asking.ask()) == 1
    assert asyncio.run(asking.ask()) == 0
    assert asked == [[uid, hashed], [uid]]


_BROKEN = {
    "garbage": "#!/bin/sh\nhead -c 100000 /dev/urandom\n",
    "half": "#!/bin/sh\necho '7|'\n",
    "too much": "#!/bin/sh\nexec yes\n",
    "down": "#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n",
    "no program": "\x7fELF",
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(_BROKEN))
def test_what_is_no_answer_tells_nothing(site: Site, kind: str) -> None:
    """Down, garbled or endless: nothing is told, it is counted, and the next answer mends it."""
    asking = site.asking(squeue=site.command("squeue", _BROKEN[kind]))
    with pytest.raises(CommandError, match="squeue: "):
        asyncio.run(asking.ask())
    assert site.store.scheduled() == {}
    site.knows("squeue", 7, "7", "RUNNING")
    site.command("squeue")
    assert asyncio.run(asking.ask()) == 2


def test_a_command_that_is_not_there(site: Site) -> None:
    """Where Slurm is not installed the command is named."""
    with pytest.raises(CommandError, match="no-squeue: cannot be run"):
        asyncio.run(site.asking(squeue="no-squeue").ask())


def test_a_command_that_hangs_is_ended(site: Site) -> None:
    """It is waited for no longer than is set; it and all that it started are gone, and it is tried again."""
    directory = site.directory
    script = f"#!/bin/sh\nsleep 3600 & echo $! >{directory}/pid\nwait\n"

    async def run() -> None:
        asking = asyncio.create_task(
            site.asking(squeue=site.command("squeue", script), timeout_s=0.5, period_s=1.0).run()
        )
        while site.stats.failures < 2:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])

    asyncio.run(run())
    assert site.stats.working is False
    stat = Path(f"/proc/{(directory / 'pid').read_text().strip()}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)


def test_an_end_while_it_writes_waits_for_the_write(site: Site) -> None:
    """Who stops the collector may close the store as soon as the task is over."""
    site.knows("squeue", 7, "7", "RUNNING")
    schedule, done = site.store.schedule, []

    async def run() -> None:
        asking = asyncio.create_task(site.asking(squeue=site.command("squeue")).run())
        loop = asyncio.get_running_loop()

        def slow(told: dict[str, Scheduled]) -> None:
            loop.call_soon_threadsafe(asking.cancel)
            time.sleep(0.2)
            schedule(told)
            done.append(told)

        site.store.schedule = slow  # type: ignore[assignment]
        await asyncio.wait([asking])

    asyncio.run(run())
    assert len(done) == 1
