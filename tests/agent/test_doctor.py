"""The doctor tells of every kind of node what it sees of itself, by what, and why not the rest."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from joulebook.agent.clock import boot_us
from joulebook.agent.doctor import examine
from joulebook.agent.host import read_host
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.meters.series import energy_series
from joulebook.agent.slow import Slow
from joulebook.agent.source import ABSENT, WORKING, Domain, Finding, Probe, Roots
from joulebook.agent.source_table import METERS, USAGE
from joulebook.agent.sources import Sources, probe_sources
from joulebook.v1 import report_pb2
from tests.fixtures.trees import KINDS, build, roots_of, write

S = 1_000_000
LONG_S = 60.0


def doctor(roots: Roots) -> dict[str, Any]:
    """Return what the doctor finds."""
    sources = probe_sources(roots)
    try:
        return examine(sources, [Finding("spool", WORKING)], read_host(roots), "n1")
    finally:
        sources.close()


def states(found: dict[str, Any]) -> dict[str, str]:
    """Return how each source stands."""
    return {source["name"]: source["state"] for source in found["sources"]}


# What gives each domain, on each kind of node.
DOMAINS = {
    "altra": "hwmon: cpu.36 cpu.3274, model: memory.0",
    "cray-ex": "pm_counters: node gpu.0 gpu.1 gpu.2 gpu.3 cpu.0 memory.0",
    "epyc": "rapl: cpu.0 cpu.1, amdgpu: gpu.0 gpu.1, model: memory.0",
    "epyc-dies": "rapl: cpu.0 cpu.1, model: memory.0",
    "grace": "hwmon: module.0 cpu.0 core.0 uncore.0",
    "granite": "rapl: cpu.1 memory.1 cpu.0 memory.0 psys",
    "intel-gpus": "rapl: cpu.0 core.0 uncore.0, hwmon: gpu.0 gpu.1 gpu.2 gpu.3, model: memory.0",
    "laptop": "rapl: cpu.0 core.0 uncore.0 psys",
    "laptop-battery": "rapl: cpu.0 core.0 uncore.0 memory.0, battery: node",
    "nvme": "model: cpu.0 memory.0 disk.nvme0n1 disk.nvme1n1",
    "power9": "hwmon: cpu.0 cpu.8 node, model: memory.0 nic.0001:01:00",
    "stacks": "model: cpu.0 memory.0 disk.nvme0n1 disk.sda disk.sdb disk.sdc",
    "storage": "",
    "tpu-v4": "tpu: gpu.0 gpu.1 gpu.2 gpu.3, model: cpu.0 memory.0",
    "tpu-v6e": "model: cpu.0 memory.0",
    "vm": "model: cpu.0 memory.0",
    "xeon-2s": "rapl: cpu.0 memory.0 cpu.1 memory.1, hwmon: node, model: disk.nvme0n1 disk.sda disk.sdb",
    "xeon-dies": ("rapl: cpu.0.0 memory.0.0 cpu.0.1 memory.0.1 cpu.1.0 memory.1.0 cpu.1.1 memory.1.1 psys"),
}
# Of some kinds, what is said of a source beside.
SAYS = {
    "power9": ("model:nic.0005:01:00", "working", "14e4:1657 (enP5p1s0f0, enP5p1s0f1)"),
    "altra": ("hwmon:scmi_sensors@scmi_dev.4", "working", "which domain it measures is not known"),
    "epyc-dies": ("rapl", "working", "each shows the counter of the whole package"),
    "intel-gpus": ("hwmon:gpu.1", "working", "counts the package alone"),
    "stacks": ("disks", "working", "mpatha lies on sdc (ssd)"),
    "nvme": ("nvme", "absent", "agent.nvme.enabled is false"),
    "tpu-v4": ("tpu", "working", "no program uses a chip"),
    "tpu-v6e": ("tpu:power", "unreadable", "not published"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_node(tmp_path: Path, kind: str) -> None:
    """What gives each domain, on each kind of node; every known source is told of, with what it costs."""
    domains = DOMAINS[kind]
    found = doctor(build(kind, tmp_path))
    if kind in SAYS:
        name, state, says = SAYS[kind]
        (row,) = [source for source in found["sources"] if source["name"] == name]
        assert (row["state"], says in row["reason"]) == (state, True), row
    by_source: dict[str, list[str]] = {}
    for domain in found["domains"]:
        by_source.setdefault(domain["source"], []).append(domain["domain"])
        assert domain["period_us"] > 0
        assert 0 < domain["accuracy_ppm"] <= 1_000_000
    assert ", ".join(f"{source}: {' '.join(names)}" for source, names in by_source.items()) == domains
    assert {facts.name for facts in (*METERS, *USAGE)} <= {*states(found), "packages"}
    for source in found["sources"]:
        assert source["state"] in ("absent", "unreadable", "working", "suspect")
        assert source["state"] in ("working", "absent") or source["reason"]
        assert source["asked"] is None or source["asked"]["refused"] <= source["asked"]["count"]
        assert source["read_us"] is None or source["read_us"] > 0
        if source["gives"]:
            assert source["read_us"] is not None
    modelled = {domain["domain"] for domain in found["domains"] if domain["kind"] == "model"}
    assert {one["domain"] for one in found["modelled"]} == modelled
    assert all(one["reason"] for one in found["modelled"])


def test_a_bare_tree(tmp_path: Path) -> None:
    """Where nothing is mounted every source says that it is absent or cannot be read; nothing is given."""
    found = doctor(Roots(*(tmp_path / name for name in ("proc", "sys", "cgroup", "dev"))))
    assert found["domains"] == found["modelled"] == []
    assert {s["name"] for s in found["sources"] if s["state"] == "working"} == {"spool"}
    assert all(s["reason"] for s in found["sources"] if s["state"] != "working")


def test_what_could_stand_in_is_named(tmp_path: Path) -> None:
    """A domain that a second meter measures too names it."""
    found = doctor(build("epyc", tmp_path))
    (cpu,) = [domain for domain in found["domains"] if domain["domain"] == "cpu.0"]
    assert cpu["also"] == ["hwmon", "model"]


def test_a_masked_powercap_says_what_mends_it(tmp_path: Path) -> None:
    """RAPL zones that a container hides are unreadable with a fix, and why the CPU is modelled says so."""
    roots = build("vm", tmp_path)
    (roots.sysfs / "class/powercap/intel-rapl:0").mkdir(parents=True)
    found = doctor(roots)
    (rapl,) = [source for source in found["sources"] if source["name"] == "rapl"]
    assert rapl["state"] == "unreadable"
    assert "container" in rapl["fix"]
    assert any("rapl: RAPL zones are listed but hidden" in one["reason"] for one in found["modelled"])


def test_garbage_in_a_sensor_is_told(tmp_path: Path) -> None:
    """A sensor that gives no number is unreadable by name; its domain goes to the next."""
    roots = build("epyc", tmp_path)
    write(roots.sysfs / "class/powercap/intel-rapl:0/energy_uj", "not a number")
    found = doctor(roots)
    assert states(found)["rapl:cpu.0"] == "unreadable"
    by_name = {domain["domain"]: domain["source"] for domain in found["domains"]}
    assert (by_name["cpu.0"], by_name["cpu.1"]) == ("hwmon", "rapl")


class Distant:
    """A meter of the node that a service answers for, which the test has up, refusing or hanging."""

    name = "distant"

    def __init__(self, service: str) -> None:
        self.service = service
        self.gate = threading.Event()
        self.power = HeldPower(30 * S)
        self.slow = Slow(self.name, self._ask, period_us=10 * S, timeout_us=S // 10)
        self.told = False

    def _ask(self) -> int:
        if self.service == "hangs":
            self.gate.wait(LONG_S)
        if self.service != "up":
            raise ConnectionRefusedError("connection refused")
        return 250_000

    def is_waiting(self) -> bool:
        """Say whether the first answer is still to come."""
        return self.slow.is_waiting()

    def probe(self) -> Probe:
        """Find the node where it answered."""
        if self.slow.newest is None:
            return Probe(findings=(Finding(self.name, ABSENT, "not asked yet"),))
        self.told = True
        kind = report_pb2.SOURCE_KIND_AVERAGE_POWER
        domain = Domain("node", self.name, kind, 1, 10 * S, 20_000)
        return Probe(energy_series(["node"]), (domain,), findings=(Finding(self.name, WORKING),))

    def changed(self) -> Probe | None:
        """Tell of the node once it answered."""
        return self.probe() if self.slow.newest is not None and not self.told else None

    def read(self, now_us: int) -> Sequence[int]:
        """Take the newest answer."""
        if (answer := self.slow.poll(now_us)) is not None:
            self.power.take(answer.value, answer.taken_us)
        self.power.advance(now_us)
        return (self.power.energy_uj, self.power.unread_us) if self.told else ()

    def findings(self) -> tuple[Finding, ...]:
        """Tell how the service does."""
        return self.slow.finding(boot_us())

    def offsets_uj(self) -> tuple[int, ...]:
        """Have no hardware counter."""
        return (0,) * self.told

    def close(self) -> None:
        """Let it go."""
        self.gate.set()
        self.slow.close()


@pytest.fixture(params=["up", "refuses", "hangs"])
def distant(request: pytest.FixtureRequest) -> Iterator[Distant]:
    """Return a meter whose service is up, refuses, or hangs."""
    distant = Distant(request.param)
    yield distant
    distant.close()


def test_a_service_that_is_asked_beside_the_tick(distant: Distant, tmp_path: Path) -> None:
    """The doctor waits for its first answer: up it gives the node, refusing or hanging it says so."""
    sources = Sources()
    sources.add_meters([distant])
    found = examine(sources, [], read_host(roots_of(tmp_path)), "n1")
    (row,) = found["sources"]
    given = [(domain["domain"], domain["source"]) for domain in found["domains"]]
    if distant.service == "up":
        assert (row["state"], given) == ("working", [("node", "distant")])
        return
    assert (row["state"], given) == ("unreadable", [])
    assert ("refused" in row["reason"]) == (distant.service == "refuses")
    assert ("has not come back" in row["reason"]) == (distant.service == "hangs")
