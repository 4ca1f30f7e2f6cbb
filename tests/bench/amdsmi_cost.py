"""What AMD's GPUs cost through AMD SMI: python -m tests.bench.amdsmi_cost GPUS. Prints one JSON object.

That many stand-in GPUs that have everything, each of whose calls costs one system call.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from joulebook.agent.meters.amdsmi import AmdsmiMeter
from joulebook.agent.source import Roots
from tests.bench.nvml_cost import timed
from tests.fixtures.amdsmi.standin import Standin


def main() -> int:
    """Time a tick's read and a look at processes."""
    gpus = int(sys.argv[1])
    if "AMDSMI_STANDIN" not in os.environ:
        with tempfile.TemporaryDirectory() as directory:
            standin = Standin(Path(directory), gpus)
            for index in range(gpus):
                standin.full(index)
            (standin.directory / "sys/module/amdgpu").mkdir(parents=True)
            environ = {**os.environ, **standin.environ}
            command = [sys.executable, "-m", __spec__.name, *sys.argv[1:]]
            return os.spawnve(os.P_WAIT, sys.executable, command, environ)
    meter = AmdsmiMeter(Roots(sysfs=Path(os.environ["ROCM_PATH"]) / "sys"))
    began_ns = time.monotonic_ns()
    probe = meter.probe()
    cost = {"gpus": len(meter.gpus), "probe_us": (time.monotonic_ns() - began_ns) // 1000}
    cost["series"] = len(probe.series)

    def look() -> None:
        now_us = time.monotonic_ns() // 1000
        for gpu in meter.gpus:
            gpu.processes(now_us)

    cost |= timed("read", lambda: meter.read(time.monotonic_ns() // 1000))
    cost |= timed("look", look)
    meter.close()
    print(json.dumps(cost))
    return 0


if __name__ == "__main__":
    sys.exit(main())
