"""Applications of launchers as an agent sees them, beside what the kernel and a collector say of them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from joulebook.agent.clock import boot_us
from joulebook.agent.source import Roots
from joulebook.agent.workloads.column import CPU
from joulebook.agent.workloads.launchers.table import LAUNCHERS
from joulebook.agent.workloads.processes import process_cpu_ns
from joulebook.agent.workloads.settings import WorkloadsConfig
from joulebook.agent.workloads.workloads import Workloads
from tests.system.site import Site

_PATIENCE_S = 300.0
# The kernel's clocks are read one after the other.
_APART_US = 50_000


def tree(pids: Iterable[int]) -> set[int]:
    """Return processes and all that descend from them."""
    found = set(pids)
    for pid in pids:
        found |= {child.pid for child in psutil.Process(pid).children(recursive=True)}
    return found


@contextmanager
def started(
    command: list[str], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_logged(process: subprocess.Popen[bytes], log: Path, text: str) -> str:
    """Wait until the log of a process has a text; return the whole."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while text not in (said := log.read_text(errors="replace")):
        in_time = process.poll() is None and time.monotonic() < deadline_s
        assert in_time, f"{log} has no {text!r}: {said[-4000:]}"
        time.sleep(0.05)
    return said


class Watch:
    """The workloads of this machine, as an agent finds them."""

    def __init__(self) -> None:
        self._workloads = Workloads(Roots(), WorkloadsConfig(launchers=tuple(LAUNCHERS), node="here"))

    def close(self) -> None:
        """Let go of everything."""
        self._workloads.close()

    def until_one(self, source: str, pids: Iterable[int]) -> str:
        """Wait until processes, and all that descend from them, are of one job; return it."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            used_us = self._tick()
            jobs = {each.id: each.job or each.id for each in self._workloads.workloads}
            found = {jobs.get(self._workloads._launchers.workload_of(pid)) for pid in tree(pids)}
            if len(found) == 1 and (job := found.pop()) is not None and job.startswith(f"{source}."):
                assert sum(used_us.get(each, 0) for each, of in jobs.items() if of == job) >= 0
                return job
            assert time.monotonic() < deadline_s, f"the processes are of {found}"
            time.sleep(0.05)

    def job_of(self, pid: int) -> str:
        """Return the application that a process is of; "": none."""
        return self._workloads._launchers.workload_of(pid)

    def check_use(self, job: str, pids: Iterable[int], work_s: float) -> None:
        """Hold the job's CPU time against the clocks of its processes, over at least so much work."""
        deadline_s = time.monotonic() + _PATIENCE_S
        mine = tree(pids)
        before_us, clocks_us = self._used(job), _clocks_us(mine)
        while (more_us := _clocks_us(mine) - clocks_us) < work_s * 1e6:
            assert time.monotonic() < deadline_s, f"{mine} have used {more_us} µs"
            time.sleep(0.02)
            self._tick()
        counted_us = self._used(job) - before_us
        assert abs(counted_us - more_us) < _APART_US + more_us // 10, (counted_us, more_us)

    def _used(self, job: str) -> int:
        jobs = {each.id: each.job or each.id for each in self._workloads.workloads}
        return sum(us for each, us in self._tick().items() if jobs.get(each) == job)

    def _tick(self) -> dict[str, int]:
        now_us = boot_us()
        self._workloads.refresh(now_us)
        values = self._workloads.read(now_us)
        pairs = zip(self._workloads.series, values, strict=True)
        return {series.workload: value for series, value in pairs if series.metric == CPU}


def _clocks_us(pids: Iterable[int]) -> int:
    total_us = 0
    for pid in pids:
        total_us += process_cpu_ns(pid) // 1000
    return total_us


def until_booked(site: Site, job: str, energy_uj: int) -> Any:
    """Wait until a job has so much CPU energy in the collector's books; return it as the API tells it."""

    def has(answer: Any) -> bool:
        return any(each["job"] == job for each in answer["jobs"])

    site.until(has, "jobs?state=running")
    return site.until(lambda told: told["by_domain"]["cpu"] > energy_uj, f"jobs/{job}")


def check_books(site: Site, job: str, source: str) -> None:
    """End the agent; all that the meter delivered is in accounts, and one of them is the job's."""
    site.until(lambda answer: any(each["job"] == job for each in answer["jobs"]), "jobs?state=ended")
    site.counter.stop()
    delivered_uj = site.counter.delivered_uj
    site.until(lambda ledger: sum(a["by_domain"]["cpu"] for a in ledger["accounts"]) == delivered_uj)
    assert site.end("agent", signal.SIGTERM) == 0
    ledger = site.ask("ledger?from=-1h")
    accounts = {account["account"]: account for account in ledger["accounts"]}
    assert ledger["residual_uj"] == 0
    assert sum(account["by_domain"]["cpu"] for account in accounts.values()) == delivered_uj
    assert accounts[f"job:{job}"]["active_uj"] > 0
    (told,) = (each for each in site.ask("jobs")["jobs"] if each["job"] == job)
    assert told["source"] == source
    assert told["energy_uj"] == accounts[f"job:{job}"]["energy_uj"]
