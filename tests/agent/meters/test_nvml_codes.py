"""NVML's codes as reasons and fixes, and a driver or bindings that are not there."""

import sys
from pathlib import Path
from typing import Any

import pytest

from joulebook.agent.meters.codes import DriverError, GpuLostError, UnsupportedError
from joulebook.agent.meters.nvml_found import load
from joulebook.agent.source import ABSENT, UNREADABLE
from tests.fixtures.nvml.machine import Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return two GPUs and their meter."""
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"init": "!9"}, "driver is not loaded"),
        ({"init": "!18"}, "different versions"),
        ({"count": "!4"}, "no"),
    ],
)
def test_a_driver_that_does_not_answer_is_told_of(
    machine: Machine, tmp_path: Path, answers: dict[str, Any], says: str
) -> None:
    """Where there is a driver its failure is a fault with a fix; where there is none it is absence."""
    machine.standin.set(**answers)
    assert [f.state for f in machine.meter.probe().findings] == [ABSENT]
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (finding,) = machine.meter.probe().findings
    assert finding.state == UNREADABLE
    assert says in finding.reason
    assert finding.fix


def test_without_bindings_the_fix_is_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bindings are imported only when asked for, and said to be missing by the extra that brings them."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(DriverError, match="not installed") as missing:
        load()
    assert missing.value.fix == "pip install 'joulebook[gpu]'"


@pytest.mark.parametrize(
    ("code", "kind"),
    [("!3", UnsupportedError), ("!13", UnsupportedError), ("!15", GpuLostError), ("!16", GpuLostError)],
)
def test_codes_become_errors_that_name_a_reason(machine: Machine, code: str, kind: type[DriverError]) -> None:
    """Each code of the vendor is one of a few errors, with a reason in words."""
    machine.meter.probe()
    machine.standin.set(0, power=code)
    with pytest.raises(kind) as raised:
        machine.meter.gpus[0].power_mw()
    assert str(raised.value)


def test_an_unknown_code_is_told_by_its_number(machine: Machine) -> None:
    """A code that no table has still says which it was."""
    machine.meter.probe()
    machine.standin.set(0, power="!77")
    with pytest.raises(DriverError, match="NVML code 77"):
        machine.meter.gpus[0].power_mw()
