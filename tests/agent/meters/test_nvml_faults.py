"""NVML failing in every way: no code of no call crashes the meter, and each failure has a name."""

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.agent.meters.nvml_codes import error_of
from joulebook.agent.source import ABSENT, SUSPECT, UNREADABLE, WORKING
from tests.fixtures.nvml.machine import Machine
from tests.fixtures.nvml.standin import Standin

S = 1_000_000
CODES = (*range(1, 31), 77, 999)
FUNCTIONS = sorted(
    set(
        re.findall(
            r"\b(nvml[A-Z]\w+)",
            (Path(__file__).parents[2] / "fixtures/nvml/standin.c").read_text().partition("#include")[2],
        )
    )
    - {"nvmlErrorString", "nvmlInit_v2"}
)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a node with a GPU that has everything, an instance too, and one that has little."""
    machine = Machine(tmp_path, monkeypatch)
    machine.standin.full(0)
    machine.standin.divide(0, 0, gpu_instance=1, slices=3)
    return machine


def test_the_stand_in_has_every_call_that_the_agent_makes() -> None:
    """A call that is made and cannot be made to fail would not be tested."""
    made = set()
    for file in (Path(__file__).parents[3] / "agent/joulebook/agent/meters").glob("nvml*.py"):
        text = file.read_text()
        made |= set(re.findall(r"nvml\.(nvml[A-Z]\w+)\(", text)) | set(re.findall(r'"(nvml[A-Z]\w+)"', text))
    renamed = {"nvmlInit": "nvmlInitWithFlags"}
    known = {name.removesuffix("_v2").removesuffix("_v3") for name in FUNCTIONS}
    assert {renamed.get(name, name).removesuffix("_v2") for name in made} <= known
    assert len(made) > 30


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_code_of_any_call_is_more_than_a_finding(machine: Machine, function: str) -> None:
    """A call that fails at any time is told of or leaves a gap; joules stay what the counter delivered."""
    meter = machine.meter
    for at_probe in (True, False):
        for number, code in enumerate(CODES, start=1):
            if not at_probe:
                meter.probe()
            machine.standin.put({f"fail.{function}": code, "0.energy": 1_000_000})
            if at_probe:
                meter.probe()
            first = list(meter.read(number * 100 * S))
            for gpu in meter.gpus:
                with contextlib.suppress(OSError):
                    gpu.processes(number * 100 * S)
            machine.standin.put({f"fail.{function}": None, "0.energy": 1_000_100})
            last = list(meter.read((number * 100 + 1) * S))
            grown = [b - a for a, b in zip(first, last, strict=True)][: 2 * len(meter.gpus)]
            # 100 J counted, or up to a second at 100 W integrated, or a second not read.
            assert all(0 <= each <= 100 * S for each in grown), (function, code, grown)
            for finding in (*meter.probe().findings, *meter.findings()):
                assert finding.state in (WORKING, ABSENT, UNREADABLE, SUSPECT)
                assert finding.state in (WORKING, ABSENT) or finding.reason
    meter.close()


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_words(code: int) -> None:
    """A code is told in words, one that nobody knows by its number, and each fault with what mends it."""
    error = error_of(code)
    assert re.search(r"[a-z]{2}", str(error))
    assert (str(code) in str(error)) == (code in (30, 77))
    assert error.fix or type(error).__name__ == "UnsupportedError"


def test_a_driver_that_is_loaded_again_is_found_again(machine: Machine) -> None:
    """All handles are stale and counters begin at 0: NVML is begun again, and no absurd joule is booked."""
    machine.energy(0)
    before = machine.energy(S)
    machine.standin.set(generation=1)
    for index in range(2):
        machine.standin.set(index, energy=500)
    now_s = 1

    def tick() -> list[int]:
        nonlocal now_s
        now_s += 1
        return list(machine.meter.read(now_s * S))[:4]

    tick()
    assert machine.states()["nvml:gpu.0"].state == UNREADABLE
    machine.until(lambda: bool(tick()) and {f.state for f in machine.states().values()} == {WORKING})
    assert before[1] < tick()[1]
    assert tick()[0] == before[0]
    for index in range(2):
        machine.standin.set(index, energy=90_500)
    machine.until(lambda: tick()[0] > before[0])
    after = tick()
    assert [after[place] - before[place] for place in (0, 2)] == [90_000_000, 90_000_000]
    found = machine.of("gpu.0", (now_s + 60) * S, 31)
    assert found["SM_ACTIVE"] == 605_000
    machine.standin.set(0, xid="43")
    assert machine.of("gpu.0", (now_s + 61) * S)["XID_APPLICATION"] == 1


def test_a_driver_that_is_away_for_a_while(machine: Machine) -> None:
    """While the driver is not loaded its absence is told of; when it is back the books go on."""
    machine.energy(0)
    machine.standin.set(generation=1, init="!9")
    now_s = 0

    def tick() -> list[int]:
        nonlocal now_s
        now_s += 1
        return list(machine.meter.read(now_s * S))[:4]

    for _ in range(20):
        tick()
    assert machine.states()["nvml:gpu.1"].state == UNREADABLE
    machine.standin.set(init=None)
    machine.standin.set(1, energy=2_000_700)
    machine.until(lambda: tick()[2] == 2_000_700_000)


def test_a_driver_that_stays_away_is_begun_again_more_and_more_seldom(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each beginning that did not help makes the wait for the next twice as long."""
    bindings, now_s, begun_s = vars(sys.modules["pynvml"]), 0, []

    def begin(begin: Callable[[], None] = bindings["nvmlInit"]) -> None:
        begun_s.append(now_s)
        begin()

    machine.energy(0)
    monkeypatch.setitem(bindings, "nvmlInit", begin)
    machine.standin.set(generation=1, init="!9")
    for now_s in range(10, 361):
        # The second one waits for what the first one left to be done.
        for _ in range(2):
            machine.meter.read(now_s * S)
    assert begun_s == [15, 25, 45, 85, 165, 325]


def test_nobody_finds_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver's user library is missing on a machine with a driver, the fix is to install it."""
    machine = Machine(tmp_path, monkeypatch)
    (tmp_path / "dev").mkdir(exist_ok=True)
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    Standin(tmp_path / "dev", 0)
    machine.standin.put({"fail.nvmlInitWithFlags": 12})
    (finding,) = machine.meter.probe().findings
    assert finding.state == UNREADABLE
    assert "libnvidia-ml.so.1" in finding.reason
    assert "install" in finding.fix
