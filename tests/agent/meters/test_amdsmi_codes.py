"""AMD SMI's codes as reasons and fixes, and bindings or a library that are not there or do not match."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.amdsmi_accumulator import Accumulator, unit_uj
from joulebook.agent.meters.amdsmi_codes import error_of, there
from joulebook.agent.meters.amdsmi_library import MissingError, load
from joulebook.agent.meters.codes import DriverError, UnsupportedError
from joulebook.agent.source import ABSENT, UNREADABLE
from tests.fixtures.amdsmi.machine import Machine
from tests.fixtures.amdsmi.standin import Standin

S = 1_000_000


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return two GPUs and their meter."""
    return Machine(tmp_path, monkeypatch)


@pytest.mark.usefixtures("machine")
def test_every_code_has_a_reason_and_every_fault_a_fix() -> None:
    """Whatever code the real bindings know of: what is wrong is said, and what mends it."""
    from amdsmi import amdsmi_wrapper as wrapper  # noqa: PLC0415  (on the stand-in)

    codes = {
        value
        for name, value in vars(wrapper).items()
        if name.startswith("AMDSMI_STATUS_") and isinstance(value, int) and value
    }
    assert len(codes) > 40
    for code in codes | {9999}:
        error = error_of(code)
        assert str(error)
        assert error.fix or isinstance(error, UnsupportedError)
        assert (f"code {code}" in str(error)) == (code not in codes or code == 9999)


def test_every_code_of_every_call_is_survived(machine: Machine) -> None:
    """Each code, from the start and while it is read: no crash, no energy that was not, and back again."""
    from amdsmi import amdsmi_wrapper as wrapper  # noqa: PLC0415  (on the stand-in)

    machine.standin.full(0)
    machine.probe()
    before = machine.energy(0)
    names = [n for n in vars(wrapper) if n.startswith("AMDSMI_STATUS_") and getattr(wrapper, n)]
    for second, name in enumerate(names, start=1):
        machine.standin.set(0, all=getattr(wrapper, name))
        assert machine.energy(second * S)[0] == before[0]
        machine.standin.set(0, all=None)
        assert machine.energy(second * S)[0] == before[0]
        machine.meter.changed()
    machine.meter.close()


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"init": "!34"}, "driver is not loaded"),
        ({"init": "!18"}, "could not begin"),
        ({"init": "!4"}, "a library"),
        ({"version": "25 3"}, "of release 7.0.2"),
        ({"version": "27 0"}, "of release 7.0.2"),
    ],
)
def test_a_driver_that_does_not_answer_is_told_of(
    machine: Machine, answers: dict[str, Any], says: str
) -> None:
    """Where there is a driver its failure is a fault with a fix."""
    machine.standin.set(**answers)
    (finding,) = machine.probe().findings
    assert (finding.name, finding.state) == ("amdsmi", UNREADABLE)
    assert says in finding.reason
    assert finding.fix
    machine.meter.close()


def test_a_library_that_is_not_there_is_absence(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AMD SMI the driver's files are read instead; it is said how to install it."""
    monkeypatch.delitem(sys.modules, "amdsmi")
    monkeypatch.setenv("ROCM_PATH", str(machine.standin.directory / "nowhere"))
    (finding,) = machine.probe().findings
    assert finding.state == ABSENT
    assert "libamd_smi.so was not found: the meter amdgpu reads instead" in finding.reason
    assert "ROCm" in finding.fix


def test_bindings_that_are_not_there_are_absence(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fix names the extra that brings them."""
    monkeypatch.delitem(sys.modules, "amdsmi")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    (finding,) = machine.probe().findings
    assert finding.state == ABSENT
    assert "bindings of AMD SMI are not installed" in finding.reason
    assert finding.fix == "pip install 'joulebook[amd]'"
    with pytest.raises(MissingError):
        load()


@pytest.mark.parametrize("content", [b"no library", b""])
def test_a_library_that_is_damaged_is_told_of(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """What is there and cannot be loaded is a fault, not absence."""
    monkeypatch.delitem(sys.modules, "amdsmi")
    # A file of another name, so that it is not known already.
    monkeypatch.setenv("ROCM_PATH", str(machine.standin.directory / "other"))
    library = machine.standin.directory / "other/lib/libamd_smi.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(content)
    (finding,) = machine.probe().findings
    assert finding.state == UNREADABLE
    assert "cannot be loaded" in finding.reason
    assert finding.fix


def test_a_library_of_another_release_that_lacks_a_function_is_told_of(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The bindings look for every function when they are imported; nothing is printed, nothing crashes."""
    other = tmp_path / "other/lib"
    other.mkdir(parents=True)
    (tmp_path / "few.c").write_text("int amdsmi_init(void) { return 0; }\n")
    subprocess.run(
        ["gcc", "-shared", "-o", other / "libamd_smi.so", tmp_path / "few.c"], check=True, timeout=60
    )
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "other"))
    for name in ("amdsmi", "amdsmi.amdsmi_wrapper", "amdsmi.amdsmi_interface", "amdsmi.amdsmi_exception"):
        monkeypatch.delitem(sys.modules, name)
    (finding,) = machine.probe().findings
    assert finding.state == UNREADABLE
    assert "different releases" in finding.reason
    assert finding.fix


def test_nothing_is_printed_where_there_is_no_library(tmp_path: Path) -> None:
    """What the agent prints is read by programs: the bindings' own complaint must not be within."""
    program = (
        "from pathlib import Path\n"
        "from joulebook.agent.meters.amdsmi import AmdsmiMeter\n"
        "from joulebook.agent.source import Roots\n"
        f"root = Path({str(tmp_path)!r})\n"
        "(root / 'module/amdgpu').mkdir(parents=True)\n"
        "(finding,) = AmdsmiMeter(Roots(sysfs=root, devfs=root)).probe().findings\n"
        "assert 'was not found' in finding.reason, finding\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == ""


def test_more_processes_than_fit_are_refused_and_told_of(machine: Machine) -> None:
    """The bindings have room for 1,024; who asks is told that the list cannot be had."""
    machine.standin.set(0, processes=",".join(f"{pid}:1:1:1" for pid in range(1, 300)))
    machine.probe()
    assert len(machine.meter.gpus[0].processes(0)) == 299
    machine.standin.set(0, **{"fail.amdsmi_get_gpu_process_list": 15})
    with pytest.raises(DriverError):
        machine.meter.gpus[0].processes(S)
    machine.meter.close()


@pytest.mark.parametrize("value", ["N/A", None, -1, 2**16 - 1, 2**32 - 1, 2**64 - 1])
def test_what_stands_for_none_is_not_there(value: Any) -> None:
    """All ones of any width, and the bindings' own words."""
    with pytest.raises(UnsupportedError):
        there(value)


@given(
    st.lists(st.integers(0, 4_000_000), min_size=1, max_size=40),
    st.integers(0, 2**32 - 1),
    st.sampled_from([15.259, 15.3, 15.2587890625]),
)
def test_an_accumulator_of_32_bits_is_one_of_64(steps: list[int], first: int, resolution: float) -> None:
    """Whatever it begins at and grows by a second below the limit: the sum is what it grew by."""
    accumulator = Accumulator(limit_mw=100_000)
    units, begun = first, accumulator.energy_uj(first, resolution, 0)
    for second, step in enumerate(steps, start=1):
        units += step
        found = accumulator.energy_uj(units % 2**32, resolution, second * S)
        assert found - begun == int(units * unit_uj(resolution)) - int(first * unit_uj(resolution))


def test_the_stand_in_of_another_test_is_not_this_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each test has a library of its own, with answers of its own."""
    (tmp_path / "one").mkdir()
    standin = Standin(tmp_path / "one", gpus=1)
    bindings = standin.install(monkeypatch)
    bindings.amdsmi_init()
    assert len(bindings.amdsmi_get_processor_handles()) == 1
    bindings.amdsmi_shut_down()
