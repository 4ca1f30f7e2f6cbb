"""One meter a domain, whatever becomes of them, and books that go on without a break."""

from joulebook.agent.source import (
    SUSPECT,
    UNREADABLE,
    WORKING,
)
from joulebook.v1 import report_pb2
from tests.agent.meters.arbitrated import GAUGE, MODEL, Fake, Node, S


def test_a_stuck_counter_is_taken_over_from_and_gets_its_domain_back() -> None:
    """RAPL stands still: another gives the package; it moves again: after a while it is trusted."""
    rapl = Fake("rapl", {"cpu.0": 100_000})
    hwmon = Fake("hwmon", {"cpu.0": 101_000})
    node = Node(rapl, hwmon)
    node.run(30)
    assert node.sources() == {"cpu.0": "rapl"}
    rapl.power_mw["cpu.0"] = 0
    node.run(200)
    assert node.sources() == {"cpu.0": "hwmon"}
    rapl.power_mw["cpu.0"] = 100_000
    node.run(59)
    assert node.sources() == {"cpu.0": "hwmon"}
    node.run(130)
    assert node.sources() == {"cpu.0": "rapl"}
    node.finish()
    told = node.told("rapl:cpu.0")
    assert told[0][0] == SUSPECT
    assert told[0][1].startswith("stuck")
    assert told[-1][0] == WORKING
    # What was lost is what the counter did not count before it was found out: 60 s and 10 s of patience.
    ticks = 30 + 200 + 59 + 130
    assert 0 < ticks * 100 * S - node.booked_uj() <= 75 * 100 * S


def test_a_counter_that_jumps_is_taken_over_from_and_gets_its_domain_back() -> None:
    """RAPL shows impossible energies on and on: another gives the package, until that has long stopped."""
    rapl = Fake("rapl", {"cpu.0": 100_000})
    hwmon = Fake("hwmon", {"cpu.0": 101_000})
    node = Node(rapl, hwmon)
    node.run(30)
    rapl.jumps = True
    node.run(10)
    assert node.sources() == {"cpu.0": "rapl"}
    node.run(60)
    assert node.sources() == {"cpu.0": "hwmon"}
    assert node.accuracy_ppm("cpu.0") == 30_000
    rapl.jumps = False
    node.run(110)
    assert node.sources() == {"cpu.0": "hwmon"}
    node.run(20)
    assert node.sources() == {"cpu.0": "rapl"}
    # Nothing is lost and nothing is twice: what the counter had jumped over it shows when it is back.
    assert 230 * 100 * S <= node.booked_uj() <= 231 * 101 * S
    states = [state for state, _ in node.told("rapl:cpu.0")]
    assert (states[0], states[-1]) == (SUSPECT, WORKING)


def test_a_counter_that_jumps_without_a_second_has_a_wider_margin() -> None:
    """Where nothing else gives the domain, it is booked on, and may be off by all of it while it jumps."""
    rapl = Fake("rapl", {"cpu.0": 100_000})
    node = Node(rapl)
    node.run(30)
    rapl.jumps = True
    node.run(60)
    assert (node.sources(), node.accuracy_ppm("cpu.0")) == ({"cpu.0": "rapl"}, 1_000_000)
    rapl.jumps = False
    node.run(130)
    assert node.accuracy_ppm("cpu.0") == 30_000
    assert node.booked_uj() == 220 * 100 * S


def test_a_suspect_without_a_second_goes_on_with_a_wider_margin() -> None:
    """A node meter far below its parts has no stand-in: it is told of, and its ± is as far as it was off."""
    bmc = Fake("bmc", {"node": 300_000}, GAUGE)
    rapl = Fake("rapl", {"cpu.0": 100_000, "cpu.1": 100_000})
    node = Node(bmc, rapl)
    node.run(300)
    assert node.accuracy_ppm("node") == 30_000
    bmc.power_mw["node"] = 125_000
    node.run(300)
    assert node.accuracy_ppm("node") == 600_000
    assert node.sources() == {"node": "bmc", "cpu.0": "rapl", "cpu.1": "rapl"}
    bmc.power_mw["node"] = 300_000
    node.run(300)
    assert node.accuracy_ppm("node") == 30_000
    node.finish()
    assert [state for state, _ in node.told("bmc:node")] == [SUSPECT, WORKING]
    assert node.told("bmc:node")[0][1] == "shows 125 W where its parts add up to 200 W"


def test_a_meter_that_falls_silent_is_modelled_after_its_patience() -> None:
    """A counter is waited for as long as it may come back with what it counted; then the model gives."""
    rapl = Fake("rapl", {"cpu.0": 100_000})
    model = Fake("model", {"cpu.0": 80_000}, MODEL, 500_000)
    node = Node(rapl, model)
    node.run(30)
    rapl.power_mw["cpu.0"] = None
    node.run(50)
    assert node.sources() == {"cpu.0": "rapl"}
    node.run(30)
    assert node.sources() == {"cpu.0": "model"}
    decoded = node.finish()
    assert node.told("rapl:cpu.0")[0][0] == UNREADABLE
    layout = decoded[-1].readings.layout
    assert layout.message.domains[0].kind == report_pb2.SOURCE_KIND_MODEL


def test_a_meter_that_breaks_as_a_whole_hands_over_all() -> None:
    """One that raises takes no other down, and all that it gave goes to the next."""
    bmc = Fake("bmc", {"node": 300_000}, GAUGE)
    acpi = Fake("acpi", {"node": 310_000}, GAUGE)
    node = Node(bmc, acpi)
    node.run(5)
    bmc.broken = True
    node.run(20)
    assert node.sources() == {"node": "acpi"}
    node.finish()
    assert (UNREADABLE, "gone") in node.told("bmc")


def test_two_that_differ_are_both_suspect_and_the_better_one_stays() -> None:
    """Which of two is wrong nobody knows: the first is booked on, its ± reaches to the other."""
    rapl = Fake("rapl", {"cpu.0": 100_000})
    hwmon = Fake("hwmon", {"cpu.0": 140_000})
    node = Node(rapl, hwmon)
    node.run(300)
    assert node.accuracy_ppm("cpu.0") == 400_000
    assert node.sources() == {"cpu.0": "rapl"}
    node.finish()
    assert node.told("rapl:cpu.0") == [(SUSPECT, "shows 100 W where hwmon shows 140 W")]


def test_a_meter_joins_and_takes_what_is_its_own() -> None:
    """A BMC that answers late becomes the root from that tick on; each GPU stays with one driver."""
    bmc = Fake("bmc", {}, GAUGE)
    nvml = Fake("nvml", {"gpu.0": 50_000}, devices=("gpu.0",))
    other = Fake("hwmon", {"gpu.0": 60_000}, devices=("gpu.0", "gpu.1"))
    node = Node(bmc, nvml, other)
    node.run(7)
    assert node.sources() == {"gpu.0": "nvml"}
    bmc.joining["node"] = 300_000
    node.run(7)
    assert node.sources() == {"node": "bmc", "gpu.0": "nvml"}
    assert node.booked_uj() == (8 * 50 + 6 * 300) * S
    layout = report_pb2.Layout.FromString(node.sampler.layout)
    assert [device.name for device in layout.devices] == ["gpu.0", "gpu.1"]


def test_every_meter_is_read_once_a_tick() -> None:
    """A take-over reads nothing twice."""
    bmc, rapl = Fake("bmc", {}, GAUGE), Fake("rapl", {"cpu.0": 100_000})
    node = Node(bmc, rapl)
    bmc.joining["node"] = 300_000
    node.run(9)
    assert rapl.reads == 10
    node.finish()
