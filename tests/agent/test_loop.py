"""The agent wakes for what happens on the node, and not for the rest."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from joulebook.agent.clock import boot_us
from joulebook.agent.loop import run
from joulebook.agent.workloads.column import CPU
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import V2, FakeCgroups

_NEVER_S = 3600.0


class Ticks:
    """What each tick showed: the workloads with CPU time, and those that had ended by it."""

    def __init__(self, workloads: Workloads) -> None:
        self._workloads = workloads
        self.shown: list[dict[str, int]] = []
        self.ended: list[str] = []

    def tick(self) -> None:
        now_us = boot_us()
        self._workloads.refresh(now_us)
        values = self._workloads.read(now_us)
        pairs = zip(self._workloads.series, values, strict=True)
        self.ended += [workload_id for workload_id, _, _ in self._workloads.ended()]
        self.shown.append({s.workload: v for s, v in pairs if s.metric == CPU and s.workload != "agent"})

    def wait_for(self, count: int) -> None:
        while len(self.shown) < count:
            time.sleep(0.001)


def _run(workloads: Workloads, ticks: Ticks, script: Callable[[], None]) -> None:
    """Run the loop, at an hour a tick, until a script beside it is through."""

    def beside() -> None:
        try:
            script()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=beside)
    thread.start()
    run(_NEVER_S, ticks.tick, lambda: None, workloads, None)
    thread.join()


def test_jobs_have_ticks_at_their_edges(tmp_path: Path) -> None:
    """A job's group begins after a tick of its own and ends with one; a service's waits for the next."""
    fake = FakeCgroups(tmp_path, V2)
    fake.make("/slurm/uid_0/job_1", cpu_us=5)
    for path in ("/slurm/uid_0", "/slurm", ""):
        fake.show(path, cpu_us=5)
    workloads = Workloads(fake.roots, lookup_user=str)
    ticks = Ticks(workloads)
    ticks.tick()

    def script() -> None:
        fake.show("/slurm/uid_0", cpu_us=12)
        fake.make("/slurm/uid_0/job_2", cpu_us=7)
        ticks.wait_for(2)
        fake.make("/system.slice/a.service")
        fake.show("/slurm/uid_0", cpu_us=23)
        fake.remove("/slurm/uid_0/job_2")
        ticks.wait_for(3)

    _run(workloads, ticks, script)
    workloads.close()
    # Made before the second tick, it is of the interval after it.
    assert [set(each) for each in ticks.shown] == [{"slurm.1"}, {"slurm.1"}, {"slurm.1", "slurm.2"}]
    assert ticks.shown[2]["slurm.2"] == 18
    assert ticks.ended == ["slurm.2"]
