"""Whatever meters a node has, and whatever becomes of them: every joule is counted once."""

from itertools import combinations, product
from random import Random

import pytest

from joulebook.agent.meters.offers import Offer, choose
from joulebook.agent.source import Domain
from joulebook.v1 import report_pb2
from joulebook.v1.containment import DETAILS, parents_of

# What a two-socket node of two GPUs is made of.
ATOMS = {
    "cpu.0": {"c0"},
    "cpu.1": {"c1"},
    "cpu.0.0": {"c0a"},
    "cpu.0.1": {"c0b"},
    "memory.0": {"m0"},
    "memory.1": {"m1"},
    "gpu.0": {"g0"},
    "gpu.1": {"g1"},
    "disk.sda": {"d"},
    "core.0": {"c0a"},
    "psys": {"c0", "c1", "m0", "m1", "d", "board"},
    "node": {"c0", "c1", "m0", "m1", "g0", "g1", "d", "board", "fans"},
    "module.0": {"c0", "m0", "g0"},
    "module.1": {"c1", "m1", "g1"},
}
RAPL, NVML, AMDSMI, AMDGPU, CRAY, BMC, HWMON, MODEL = range(8)
_ACCURACY_PPM = {
    **dict.fromkeys((RAPL, BMC), 30_000),
    **dict.fromkeys((NVML, AMDSMI, AMDGPU, CRAY, HWMON), 50_000),
    MODEL: 500_000,
}


def offer(meter: int, name: str, holds: str = "", off_ppm: int = 0, out: bool = False) -> Offer:
    kind = report_pb2.SOURCE_KIND_MODEL if meter == MODEL else report_pb2.SOURCE_KIND_COUNTER
    domain = Domain(name, str(meter), kind, 1, 1000, _ACCURACY_PPM[meter], holds=frozenset(holds.split()))
    return Offer(meter, domain, off_ppm, out)


def atoms(one: Offer) -> set[str]:
    """Return what an offer holds, dies as halves of their package."""
    held = set(ATOMS[one.domain.name])
    for name in one.holds:
        for domain, parts in ATOMS.items():
            if name in (domain, domain.partition(".")[0]):
                held |= parts
    return {part for atom in held for part in ((atom + "a", atom + "b") if atom in ("c0", "c1") else (atom,))}


def counted(chosen: list[Offer]) -> list[str]:
    """Return every atom as often as the books would count it: of a container what its parts do not hold."""
    names = [one.domain.name for one in chosen]
    parents = parents_of(names)
    own = [atoms(one) for one in chosen]
    for place, name in enumerate(names):
        around = parents[place]
        while around >= 0 and name.partition(".")[0] not in DETAILS:
            own[around] = own[around] - atoms(chosen[place])
            around = parents[around]
    return [
        atom
        for name, held in zip(names, own, strict=True)
        if name.partition(".")[0] not in DETAILS
        for atom in held
    ]


RAPL_ALL = [offer(RAPL, name) for name in ("cpu.0", "cpu.1", "core.0", "memory.0", "memory.1", "psys")]
RAPL_DIES = [offer(RAPL, name) for name in ("cpu.0.0", "cpu.0.1", "cpu.1")]
NVML_ALL = [offer(NVML, name) for name in ("gpu.0", "gpu.1", "module.0")]
AMDSMI_ALL = [offer(AMDSMI, name) for name in ("gpu.0", "gpu.1")]
AMDGPU_ALL = [offer(AMDGPU, name) for name in ("gpu.0", "gpu.1")]
CRAY_ALL = [
    offer(CRAY, "node"),
    offer(CRAY, "cpu.0", "cpu"),
    offer(CRAY, "memory.0", "memory"),
    offer(CRAY, "gpu.0"),
    offer(CRAY, "gpu.1"),
]
GRACE_ALL = [
    offer(HWMON, "module.0", "memory.0"),
    offer(HWMON, "cpu.0", "memory.0"),
    offer(HWMON, "module.1", "memory.1"),
    offer(HWMON, "cpu.1", "memory.1"),
]
HWMON_ALL = [offer(HWMON, name) for name in ("node", "cpu.0", "cpu.1", "gpu.0")]
MODEL_ALL = [
    offer(MODEL, "cpu.0"),
    offer(MODEL, "cpu.1"),
    offer(MODEL, "memory.0", "memory"),
    offer(MODEL, "disk.sda"),
]


@pytest.mark.parametrize(
    ("offers", "booked"),
    [
        (MODEL_ALL, "model: cpu.0 cpu.1 memory.0 disk.sda"),
        (RAPL_ALL + MODEL_ALL, "rapl: cpu.0 cpu.1 core.0 memory.0 memory.1 psys"),
        (RAPL_ALL[:4] + MODEL_ALL, "rapl: cpu.0 cpu.1 core.0 memory.0, model: disk.sda"),
        (
            [*RAPL_ALL, offer(BMC, "node"), *MODEL_ALL],
            "rapl: cpu.0 cpu.1 core.0 memory.0 memory.1 psys, bmc: node, model: disk.sda",
        ),
        (RAPL_DIES + HWMON_ALL, "rapl: cpu.0.0 cpu.0.1 cpu.1, hwmon: node gpu.0"),
        (RAPL_DIES[2:] + HWMON_ALL, "rapl: cpu.1, hwmon: node cpu.0 gpu.0"),
        (
            NVML_ALL + GRACE_ALL + MODEL_ALL,
            "nvml: gpu.0 gpu.1 module.0, hwmon: cpu.0 module.1 cpu.1, model: disk.sda",
        ),
        (
            NVML_ALL[:2] + CRAY_ALL + MODEL_ALL,
            "nvml: gpu.0 gpu.1, cray: node cpu.0 memory.0, model: disk.sda",
        ),
        (RAPL_ALL[:2] + CRAY_ALL, "rapl: cpu.0 cpu.1, cray: node memory.0 gpu.0 gpu.1"),
        ([offer(BMC, "node"), offer(HWMON, "node")], "bmc: node"),
        # A suspect meter yields to another; to a model only where that is nearer to the truth.
        ([offer(RAPL, "cpu.0", off_ppm=1_000_000), offer(HWMON, "cpu.0")], "hwmon: cpu.0"),
        ([offer(RAPL, "cpu.0", off_ppm=1_000_000), offer(MODEL, "cpu.0")], "model: cpu.0"),
        ([offer(RAPL, "cpu.0", off_ppm=100_000), offer(MODEL, "cpu.0")], "rapl: cpu.0"),
        ([offer(RAPL, "cpu.0", out=True), offer(MODEL, "cpu.0")], "model: cpu.0"),
        ([offer(RAPL, "cpu.0", out=True)], "rapl: cpu.0"),
        # AMD's three ways to the same GPUs: one of them, and the next where it gives nothing.
        (AMDSMI_ALL + AMDGPU_ALL + HWMON_ALL, "amdsmi: gpu.0 gpu.1, hwmon: node cpu.0 cpu.1"),
        (AMDGPU_ALL + HWMON_ALL, "amdgpu: gpu.0 gpu.1, hwmon: node cpu.0 cpu.1"),
        (AMDSMI_ALL[:1] + AMDGPU_ALL, "amdsmi: gpu.0"),
        ([offer(AMDSMI, f"gpu.{n}", out=True) for n in (0, 1)] + AMDGPU_ALL, "amdgpu: gpu.0 gpu.1"),
        ([*AMDSMI_ALL[:1], offer(AMDSMI, "gpu.1", out=True), *AMDGPU_ALL], "amdsmi: gpu.0 gpu.1"),
        (NVML_ALL[:2] + AMDSMI_ALL + AMDGPU_ALL, "nvml: gpu.0 gpu.1"),
        (AMDSMI_ALL + AMDGPU_ALL + CRAY_ALL, "amdsmi: gpu.0 gpu.1, cray: node cpu.0 memory.0"),
        # One GPU that is lost does not hand the others to a driver that may number them otherwise.
        ([NVML_ALL[0], offer(NVML, "gpu.1", out=True), *CRAY_ALL[3:]], "nvml: gpu.0 gpu.1"),
        ([offer(NVML, f"gpu.{n}", out=True) for n in (0, 1)] + CRAY_ALL[3:], "cray: gpu.0 gpu.1"),
    ],
)
def test_the_best_is_booked(offers: list[Offer], booked: str) -> None:
    """For each kind of node, which meter gives which domain."""
    names = {
        RAPL: "rapl",
        NVML: "nvml",
        AMDSMI: "amdsmi",
        AMDGPU: "amdgpu",
        CRAY: "cray",
        BMC: "bmc",
        HWMON: "hwmon",
        MODEL: "model",
    }
    found: dict[str, list[str]] = {}
    for place in choose(offers):
        found.setdefault(names[offers[place].meter], []).append(offers[place].domain.name)
    assert ", ".join(f"{meter}: {' '.join(domains)}" for meter, domains in found.items()) == booked


def test_nothing_is_counted_twice_by_any_combination() -> None:
    """Every set of meters, each part of them there or not, healthy, suspect or out: no joule counts twice."""
    groups = [
        RAPL_ALL,
        RAPL_DIES,
        NVML_ALL,
        AMDSMI_ALL + AMDGPU_ALL,
        CRAY_ALL,
        GRACE_ALL,
        HWMON_ALL,
        [offer(BMC, "node")],
        MODEL_ALL,
    ]
    rng = Random(5)
    tried = 0
    for present in product((False, True), repeat=len(groups)):
        if present[0] and present[1]:
            continue
        whole = [one for group, there in zip(groups, present, strict=True) if there for one in group]
        variants = [whole]
        if len(whole) > 1:
            variants += [list(some) for some in combinations(whole, len(whole) - 1)]
        variants += [_spoilt(whole, rng) for _ in range(20)]
        for offers in variants:
            chosen = [offers[place] for place in choose(offers)]
            held = counted(chosen)
            assert len(held) == len(set(held)), describe(chosen)
            tried += 1
    assert tried > 5000


def test_no_meter_is_left_out_for_nothing() -> None:
    """What is dropped would have counted something again: nothing that stands alone is lost."""
    for offers in (
        RAPL_ALL,
        RAPL_DIES,
        NVML_ALL,
        AMDSMI_ALL,
        AMDGPU_ALL,
        CRAY_ALL,
        GRACE_ALL,
        HWMON_ALL,
        MODEL_ALL,
    ):
        assert choose(offers) == list(range(len(offers)))


def _spoilt(offers: list[Offer], rng: Random) -> list[Offer]:
    """Leave some out; of the rest some are suspect, and some give nothing."""
    fates = ((0, False), (0, False), (200_000, False), (1_000_000, False), (0, True))
    return [Offer(one.meter, one.domain, *rng.choice(fates)) for one in offers if rng.random() < 0.8]


def describe(chosen: list[Offer]) -> str:
    """Return what was chosen, for a message."""
    return ", ".join(f"{one.meter}:{one.domain.name}" for one in chosen)
