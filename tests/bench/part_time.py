"""Energy of square waves by a sensor that looks at 25 ms of every 100, as A100's and H100's do: how far off.

Yang, Adamek, Armour, arXiv 2312.02741. The truth is the wave itself; the sensor is the stand-in's.
"""

import tempfile
from pathlib import Path

import pytest

from joulebook.agent.meters.nvml import NvmlMeter
from tests.bench.rows import Row, row
from tests.fixtures.nvml.standin import Standin
from tests.fixtures.trees import roots_of

_HIGH_MW, _LOW_MW = 700_000, 100_000
_SECONDS = 60
_S = 1_000_000
_PERIODS_MS = (20, 50, 90, 100, 130, 200, 370, 1000, 2500, 10_000)
_INSTANT = 186


def measure() -> list[Row]:
    """Return for each period how far the meter and polling once a second are from the wave, in per cent."""
    rows = []
    for period_ms in _PERIODS_MS:
        ours, polled = errors_percent(period_ms * 1000)
        name = f"energy of a square wave of {period_ms} ms, off by"
        rows.append(row(name, "%", ours, peer="momentary power, polled at 1 Hz", peer_value=polled))
    return rows


def errors_percent(period_us: int) -> tuple[float, float]:
    """Return how far the meter's energy and the polled one are off, over a minute of the wave."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        standin = Standin(Path(directory), gpus=1)
        standin.install(patch)
        standin.put({"0.wave": f"{period_us} {_HIGH_MW} {_LOW_MW}", "0.field.186": 1, "time_us": _S})
        meter = NvmlMeter(roots_of(Path(directory)), wait_s=60)
        meter.probe()
        first_uj = next(iter(meter.read(_S)))
        last_uj = polled_uj = 0
        for second in range(2, _SECONDS + 2):
            standin.put({"time_us": second * _S})
            last_uj = next(iter(meter.read(second * _S)))
            gpu = meter.gpus[0]
            (field,) = gpu.nvml.nvmlDeviceGetFieldValues(gpu.handle, [_INSTANT])
            polled_uj += field.value.uiVal * 1000
        meter.close()
    true_uj = (_HIGH_MW + _LOW_MW) * 1000 // 2 * _SECONDS
    return abs(last_uj - first_uj - true_uj) / true_uj * 100, abs(polled_uj - true_uj) / true_uj * 100
