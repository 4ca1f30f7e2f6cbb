"""What asking NVIDIA's GPUs costs: python -m tests.bench.nvml_cost. Prints one JSON object."""

import json
import statistics
import sys
import time

from joulebook.agent.meters.nvml import NvmlMeter
from joulebook.agent.source import Roots

_ROUNDS = 50


def main() -> int:
    """Time a tick's read and a look at processes, µs at the median and the worst."""
    meter = NvmlMeter(Roots())
    began_ns = time.monotonic_ns()
    probe = meter.probe()
    cost = {"gpus": len(meter.gpus), "probe_us": (time.monotonic_ns() - began_ns) // 1000}
    if not meter.gpus:
        print(json.dumps(cost | {"finding": [f.reason for f in probe.findings]}))
        return 1

    def look() -> None:
        for gpu in meter.gpus:
            gpu.processes(time.monotonic_ns() // 1000)

    for name, ask in (("read", lambda: meter.read(time.monotonic_ns() // 1000)), ("look", look)):
        taken_us = []
        for _ in range(_ROUNDS):
            began_ns = time.monotonic_ns()
            ask()
            taken_us.append((time.monotonic_ns() - began_ns) // 1000)
            time.sleep(0.02)
        cost |= {f"{name}_p50_us": int(statistics.median(taken_us)), f"{name}_max_us": max(taken_us)}
    print(json.dumps(cost))
    return 0


if __name__ == "__main__":
    sys.exit(main())
