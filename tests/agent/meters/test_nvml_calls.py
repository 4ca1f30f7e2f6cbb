"""NVML's calls that go straight to the library: lists of any length, and functions that it does not have."""

from ctypes import c_uint
from pathlib import Path
from struct import Struct

import pytest

from joulebook.agent.meters.codes import UnsupportedError
from joulebook.agent.meters.nvml_calls import Numbers, Records
from tests.fixtures.nvml.machine import Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return two GPUs and their meter, which has begun NVML."""
    machine = Machine(tmp_path, monkeypatch)
    machine.meter.probe()
    return machine


@pytest.mark.parametrize("many", [0, 1, 128, 129, 300])
def test_a_list_is_whole_however_long_it_is(machine: Machine, many: int) -> None:
    """Room for what does not fit is made, and kept."""
    pids = range(1, many + 1)
    machine.standin.set(0, compute=",".join(map(str, pids)))
    assert sorted(machine.meter.gpus[0].processes(0)) == list(pids)
    assert sorted(machine.meter.gpus[0].processes(1)) == list(pids)


def test_a_function_that_the_library_has_not_is_not_supported(machine: Machine) -> None:
    """An old driver's library lacks what came later; of several forms the first that it has is asked."""
    gpu = machine.meter.gpus[0]
    nvml, name = gpu.nvml, "nvmlDeviceGetComputeRunningProcesses_v3"
    with pytest.raises(UnsupportedError, match="not known to this driver"):
        Numbers(nvml, "nvmlDeviceGetWhatever", c_uint).one(gpu.handle)
    assert list(Records(nvml, Struct("=I4xQII"), "nvmlDeviceGetWhatever", name).of(gpu.handle)) == []
