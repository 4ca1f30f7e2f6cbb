"""What following applications' processes costs the agent: make bench PARTS=launchers.

Real processes of a marked application, up to 1,000, asleep and at work, beside as many that are none's.
A look is what is done after something was started; a tick in between is the rest.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from joulebook.agent.source import Roots
from joulebook.agent.workloads.column import Past
from joulebook.agent.workloads.launchers.launchers import Launchers
from joulebook.agent.workloads.launchers.place import Place
from joulebook.agent.workloads.launchers.table import LAUNCHERS
from tests.bench.rows import Row, row

_COUNTS = (0, 20, 1_000)
_TICKS = 40
_S = 1_000_000
# Starts so many children, which sleep until their input ends, or wake 20 times a second.
_START = """
import os, select, sys
count, works = int(sys.argv[1]), sys.argv[2] == "work"
for _ in range(count):
    if os.fork() == 0:
        while works and not select.select([0], [], [], 0.05)[0]:
            pass
        sys.stdin.read()
        os._exit(0)
print("started", flush=True)
sys.stdin.read()
for _ in range(count):
    os.wait()
"""


@contextmanager
def _processes(count: int, *, marked: bool, works: bool) -> Iterator[None]:
    environ = {"PATH": os.environ["PATH"]} | ({"JOULEBOOK_JOB": "bench"} if marked else {})
    command = [sys.executable, "-S", "-c", _START, str(count), "work" if works else "sleep"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe) as process:
        assert process.stdout
        process.stdout.readline()
        yield
        process.communicate()


def _cpu_us() -> float:
    return time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) / 1000


def measure() -> list[Row]:
    """Return the CPU of a tick that finds nothing new and of one that does, for each number of processes."""
    rows: list[Row] = []
    for marked, works in ((True, False), (True, True), (False, False)):
        for count in _COUNTS if marked else _COUNTS[-1:]:
            what = ("at work" if works else "asleep") if marked else "that are none's"
            with _processes(count, marked=marked, works=works):
                rows += _costs(f"{count:,} processes {what}", count + 1 if marked else 0)
    return rows


def _costs(what: str, members: int) -> list[Row]:
    launchers = Launchers(Roots(), tuple(LAUNCHERS), Past(), lambda _: Place(""), node="bench")
    began_us = _cpu_us()
    launchers.refresh(0, 0)
    first_us = _cpu_us() - began_us
    found = sum(len(part.sizes) for part in launchers.parts.values())
    if found < members:
        raise RuntimeError(f"{found} of {members} processes were found")
    quiet: list[float] = []
    busy: list[float] = []
    now_us = 0
    for tick in range(2 * _TICKS):
        # Later than any pause, so that each tick looks.
        now_us += 60 * _S
        is_new = bool(tick % 2)
        if is_new:
            subprocess.run(["true"], check=True)
        began_us = _cpu_us()
        launchers.refresh(now_us, 0)
        launchers.read()
        for part in launchers.parts.values():
            part.member.columns[0].read()
        (busy if is_new else quiet).append(_cpu_us() - began_us)
    return [
        row(f"{what}: a tick", "µs", statistics.median(quiet)),
        row(f"{what}: a tick that looks for what is new", "µs", statistics.median(busy)),
        row(f"{what}: the first look, at all others too", "µs", first_us),
    ]
