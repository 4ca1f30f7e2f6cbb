"""What Intel's device plugin allotted is found by the numbers of the kernel's cards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.agent.source import Roots
from joulebook.agent.sources import Sources, probe_sources
from joulebook.agent.workloads.gpuholders import GpuHolders, Holder
from joulebook.agent.workloads.intel_plugin import allotted_by_intel
from joulebook.agent.workloads.workload import JOB, Workload
from tests.fixtures.trees import build

# card1 and on are 03:00.0, 06:00.0, 3a:00.0 and 76:00.0, in which order hwmon numbers them; card5 is a
# virtual function of card4.
CARDS = ("gpu.0", "gpu.1", "gpu.2", "gpu.3")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[Roots, Sources]]:
    """Return a machine with a card of each kind, and what the agent finds there."""
    roots = build("intel-gpus", tmp_path)
    sources = probe_sources(roots)
    yield roots, sources
    sources.close()


@pytest.mark.parametrize(
    ("devices", "domains"),
    [
        (["card1-0"], ("gpu.0",)),
        (["card4-0", "card2-3", "card4-1"], ("gpu.3", "gpu.1")),
        (["card5-0"], ("gpu.3",)),
        (["card0-0", "card9-0", "card12-0"], ()),
        (
            ["all", "", "card1", "card1-", "card-1", "card1-0\n", "card1-0/../../x", "0000:03:00.0", "GPU-0"],
            (),
        ),
    ],
)
def test_devices_by_the_numbers_of_cards(
    node: tuple[Roots, Sources], devices: list[str], domains: tuple[str, ...]
) -> None:
    """A card is held whole by all that share it, also through a virtual function; others are nobody's."""
    roots, sources = node
    assert tuple(gpu.domain for gpu in sources.gpus()) == CARDS
    assert allotted_by_intel(devices, sources.gpus(), roots.sysfs) == (domains, {})


def test_a_pod_holds_what_it_was_given_and_variables_of_others_say_nothing(
    node: tuple[Roots, Sources],
) -> None:
    """The kubelet tells of pods; what CUDA or Slurm's numbers name are no cards of Intel's."""
    roots, sources = node
    given = {"a/x": ("card3-0",), "a/y": ()}
    holders = GpuHolders(roots.procfs, sources.gpus(), given.get, roots.sysfs)
    environ = b"CUDA_VISIBLE_DEVICES=-1,0\0SLURM_JOB_GPUS=0,1\0ROCR_VISIBLE_DEVICES=0"
    (roots.procfs / "7").mkdir()
    (roots.procfs / "7/environ").write_bytes(environ)
    jobs = [Workload(name, JOB, "kubernetes", name=name) for name in given]
    jobs.append(Workload("slurm.1", JOB, "slurm"))
    holders.look([Holder(job, pid=7) for job in jobs])
    assert holders.held(jobs) == {"a/x": ("gpu.2",)}
    assert holders.shares("a/x", ["gpu.2"]) == ()


def test_device_rules_name_cards(node: tuple[Roots, Sources], tmp_path: Path) -> None:
    """Where a group may open a card's device files alone, its job holds that card."""
    roots, sources = node
    group = tmp_path / "group"
    group.mkdir()
    (group / "devices.list").write_text("c 1:3 rwm\nc 226:129 rw\n")
    holders = GpuHolders(roots.procfs, sources.gpus(), sysfs=roots.sysfs)
    job = Workload("slurm.1", JOB, "slurm")
    holders.look([Holder(job, ruled=group)])
    assert holders.held([job]) == {"slurm.1": ("gpu.1",)}
