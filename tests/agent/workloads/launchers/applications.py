"""Applications that work when they are told to, and workloads that look for them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from joulebook.agent.source import Roots
from joulebook.agent.workloads.column import CPU
from joulebook.agent.workloads.launchers.table import LAUNCHERS
from joulebook.agent.workloads.settings import WorkloadsConfig
from joulebook.agent.workloads.workload import Workload
from joulebook.agent.workloads.workloads import Workloads

TOKEN = os.urandom(4).hex()
MARK = f"test-{TOKEN}"
# Enters groups, then executes a program that works and waits as it is told on its input.
ENTER = 'for procs; do echo $$ >"$procs"; done; exec "$PYTHON" -S -c "$WORK"'
WORK = """
import os, subprocess, sys, time
def work(seconds):
    before = time.process_time()
    while time.process_time() - before < seconds:
        pass
for line in sys.stdin:
    if line == "fork\\n":
        subprocess.run([sys.executable, "-S", "-c", "sum(range(3000000))"], check=True)
    else:
        work(float(line))
    print("done", flush=True)
"""


class Ticking:
    """Workloads that look for applications, and what they tell."""

    def __init__(self, workloads: Workloads | None = None) -> None:
        config = WorkloadsConfig(launchers=tuple(LAUNCHERS), node="here")
        self.workloads = workloads or Workloads(Roots(), config)
        self.cpu_us: dict[str, int] = {}
        self.ended: list[str] = []

    def tick(self) -> dict[str, Workload]:
        now_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        if self.workloads.refresh(now_us):
            for series, value in zip(self.workloads.series, self.workloads.baseline(), strict=True):
                if series.metric == CPU and TOKEN in series.workload:
                    assert value == self.cpu_us.get(series.workload, 0), "a series begins at the last tick"
        for series, value in zip(self.workloads.series, self.workloads.read(now_us), strict=True):
            if series.metric == CPU and TOKEN in series.workload:
                assert value >= self.cpu_us.get(series.workload, 0), "CPU time never falls"
                self.cpu_us[series.workload] = value
        self.ended += [each for each, _, _ in self.workloads.ended()]
        return {each.id: each for each in self.workloads.workloads}

    def until(self, holds: Callable[[dict[str, Workload]], bool]) -> dict[str, Workload]:
        deadline_s = time.monotonic() + 300
        while not holds(found := self.tick()):
            assert time.monotonic() < deadline_s, f"it never came about: {sorted(found)}"
            time.sleep(0.02)
        return found


class Worker:
    """A marked process that works when it is told to."""

    def __init__(self, *groups: Path, mark: str = MARK) -> None:
        environ = {"JOULEBOOK_JOB": mark, "PYTHON": sys.executable, "WORK": WORK, "PATH": os.environ["PATH"]}
        command = ["sh", "-c", ENTER, "sh", *(str(group / "cgroup.procs") for group in groups)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, text=True)

    def do(self, what: float | str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        self.process.communicate()
