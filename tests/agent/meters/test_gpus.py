"""GPUs of any vendor that come, go and come back, or whose driver is late, hangs or is loaded later."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from joulebook.agent.meters.gpus import GpusMeter
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Probe
from tests.fixtures.amdsmi.machine import LIMIT_S, until
from tests.fixtures.gpu_nodes import AmdFilesNode, AmdsmiNode, GpuNode, NvmlNode

S = 1_000_000
OF_LIBRARIES = pytest.mark.parametrize("node", [NvmlNode, AmdsmiNode], indirect=True)
OF_AMD = pytest.mark.parametrize("node", [AmdsmiNode, AmdFilesNode], indirect=True)

Meter = GpusMeter[Any, Any]
Made = Callable[..., Meter]


@pytest.fixture(params=[NvmlNode, AmdsmiNode, AmdFilesNode])
def node(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuNode:
    """Return a node whose driver is not loaded."""
    made: GpuNode = request.param(tmp_path, monkeypatch)
    made.has()
    return made


@pytest.fixture
def meter_of(node: GpuNode) -> Iterator[Made]:
    """Return what makes the node's meter, of which no answer is lost unless the test says so."""
    made = []

    def make(start_s: float = LIMIT_S) -> Meter:
        made.append(node.meter(node.roots, wait_s=LIMIT_S, start_s=start_s, hangs_s=1e9))
        return made[-1]

    yield make
    for meter in made:
        meter.close()


def change(meter: Meter, now_us: int) -> Probe:
    """Read at this moment until something else is told of than before."""
    found: list[Probe] = []

    def has_changed() -> bool:
        meter.read(now_us)
        if (probe := meter.changed()) is not None:
            found.append(probe)
        return bool(found)

    until(has_changed)
    return found[0]


def energy(meter: Meter, now_us: int) -> list[int]:
    """Return energy_uj and unread_us of each GPU."""
    return list(meter.read(now_us))[: 2 * len(meter.gpus)]


def names(node: GpuNode, probe: Probe) -> dict[str, int]:
    """Return which GPU each device is."""
    gpus = {node.uuid(gpu): gpu for gpu in range(4)}
    return {device.name: gpus[device.uuid] for device in probe.devices}


def test_a_driver_that_is_loaded_later_is_found(node: GpuNode, meter_of: Made) -> None:
    """Without a driver there is nothing; once it is loaded its GPUs join, and count from there."""
    meter = meter_of()
    assert [finding.state for finding in meter.probe().findings] == [ABSENT]
    assert list(meter.read(0)) == []
    node.has(0)
    probe = change(meter, 30 * S)
    assert [(finding.name, finding.state) for finding in probe.findings] == [(meter.name, WORKING)]
    assert energy(meter, 31 * S) == [1000 * S, 0]


def test_a_gpu_that_is_plugged_in_joins_and_the_first_goes_on(node: GpuNode, meter_of: Made) -> None:
    """It is found by the list of the kernel or driver; the one before it keeps its counter."""
    node.has(0)
    meter = meter_of()
    meter.probe()
    assert energy(meter, 0) == [1000 * S, 0]
    node.has(0, 1)
    node.counts(1100, 500)
    probe = change(meter, 30 * S)
    assert names(node, probe) == {"gpu.0": 0, "gpu.1": 1}
    assert energy(meter, 30 * S) == [1100 * S, 0, 500 * S, 0]


@OF_AMD
def test_a_gpu_that_comes_before_another_on_the_bus_takes_no_name_from_it(
    node: GpuNode, meter_of: Made
) -> None:
    """Whoever was there first is called as before."""
    node.has(1)
    meter = meter_of()
    meter.probe()
    assert energy(meter, 0) == [1000 * S, 0]
    node.has(0, 1)
    node.counts(500, 1100)
    assert names(node, change(meter, 30 * S)) == {"gpu.0": 1, "gpu.1": 0}
    assert energy(meter, 30 * S) == [1100 * S, 0, 500 * S, 0]


@OF_AMD
def test_a_gpu_that_vanishes_and_comes_back_keeps_its_name_and_its_energy(
    node: GpuNode, meter_of: Made
) -> None:
    """The other is called as before, though it is the first on the bus now; both counters go on."""
    node.has(0, 1)
    meter = meter_of()
    meter.probe()
    assert energy(meter, 0) == [1000 * S, 0, 1000 * S, 0]
    node.has(1)
    node.counts(1000, 7000)
    assert names(node, change(meter, 30 * S)) == {"gpu.1": 1}
    assert energy(meter, 30 * S) == [7000 * S, 0]
    node.has(0, 1)
    node.counts(13_000, 13_000)
    assert names(node, change(meter, 60 * S)) == {"gpu.0": 0, "gpu.1": 1}
    assert energy(meter, 60 * S) == [13_000 * S, 0, 13_000 * S, 0]


@OF_LIBRARIES
def test_a_driver_that_hangs_at_the_start_is_found_when_it_comes_back(node: GpuNode, meter_of: Made) -> None:
    """The start waits so long and no longer; it is told of, and its GPUs join once it has answered."""
    node.has(0)
    node.hang(hangs=True)
    meter = meter_of(start_s=0.01)
    (finding,) = meter.probe().findings
    assert (finding.name, finding.state) == (meter.name, UNREADABLE)
    assert "has not answered" in finding.reason
    assert finding.fix
    assert meter.changed() is None
    node.hang(hangs=False)
    probe = change(meter, 0)
    assert [(finding.name, finding.state) for finding in probe.findings] == [(meter.name, WORKING)]
    assert energy(meter, 0) == [1000 * S, 0]


@OF_LIBRARIES
def test_a_counter_that_is_late_loses_nothing(node: GpuNode, meter_of: Made) -> None:
    """While the driver is away nothing is counted, unread or told; then all of it is there."""
    node.has(0)
    meter = meter_of()
    meter.probe()
    # The first tick waits: what it misses is never booked.
    assert energy(meter, 0) == [1000 * S, 0]
    meter.wait_s = 0.001
    node.hang(hangs=True)
    for second in (1, 2, 3):
        node.counts(1000 + second * 100)
        assert energy(meter, second * S) == [1000 * S, 0]
        assert meter.is_waiting()
    assert meter.findings() == ()
    node.hang(hangs=False)
    until(lambda: energy(meter, 4 * S) == [1300 * S, 0])
    assert meter.findings() == ()


@OF_LIBRARIES
def test_the_energy_of_a_moment_is_asked_for_with_its_users(node: GpuNode, meter_of: Made) -> None:
    """Whoever asks for the users first has the energy asked for too, once; the next tick asks anew."""
    node.has(0)
    meter = meter_of()
    meter.probe()
    assert energy(meter, 0) == [1000 * S, 0]
    meter.gpus[0].processes(S)
    node.counts(1500)
    assert energy(meter, S) == [1000 * S, 0]
    assert energy(meter, 2 * S) == [1500 * S, 0]
