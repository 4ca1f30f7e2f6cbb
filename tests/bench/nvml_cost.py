"""What asking NVIDIA's GPUs costs: python -m tests.bench.nvml_cost [GPUS]. Prints one JSON object.

With a number: that many stand-in GPUs of the newest kind, each of whose calls costs one system call.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from joulebook.agent.meters.nvml import NvmlMeter
from joulebook.agent.source import Roots
from tests.bench.reads import p99
from tests.fixtures.nvml.standin import Standin

_ROUNDS = 200
_PAUSE_S = 0.05
_TURNS = 30


def main() -> int:
    """Time a tick's read and a look at processes, median and worst, and the CPU of all threads."""
    if len(sys.argv) > 1 and "NVML_STANDIN" not in os.environ:
        with tempfile.TemporaryDirectory() as directory:
            standin = Standin(Path(directory), int(sys.argv[1]))
            for index in range(int(sys.argv[1])):
                standin.full(index)
            environ = {**os.environ, **standin.environ}
            return os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-m", __spec__.name], environ)
    meter = NvmlMeter(Roots())
    began_ns = time.monotonic_ns()
    probe = meter.probe()
    cost = {"gpus": len(meter.gpus), "probe_us": (time.monotonic_ns() - began_ns) // 1000}
    if not meter.gpus:
        print(json.dumps(cost | {"finding": [f.reason for f in probe.findings]}))
        return 1
    cost["series"] = len(probe.series)

    def look() -> None:
        now_us = time.monotonic_ns() // 1000
        for gpu in meter.gpus:
            gpu.processes(now_us)

    def read() -> None:
        meter.read(time.monotonic_ns() // 1000)

    for name, ask in (("read", read), ("look", look)):
        cost |= timed(name, ask)
    meter.close()
    print(json.dumps(cost))
    return 0


def timed(name: str, ask: Callable[[], object]) -> dict[str, int]:
    """Return what a question takes: median, worst and the CPU of all threads, under that name."""
    for _ in range(_TURNS):
        ask()
    time.sleep(_PAUSE_S)
    taken_us = []
    began_ns = time.process_time_ns()
    for _ in range(_ROUNDS):
        asked_ns = time.monotonic_ns()
        ask()
        taken_us.append((time.monotonic_ns() - asked_ns) // 1000)
        time.sleep(_PAUSE_S)
    return {
        f"{name}_p50_us": int(statistics.median(taken_us)),
        f"{name}_p99_us": int(p99(taken_us)),
        f"{name}_max_us": max(taken_us),
        f"{name}_cpu_us": (time.process_time_ns() - began_ns) // 1000 // _ROUNDS,
    }


if __name__ == "__main__":
    sys.exit(main())
