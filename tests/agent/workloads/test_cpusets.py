"""Where cgroups may run, on trees of two packages and in the kernel's own cpusets."""

from dataclasses import replace
from pathlib import Path

import pytest

from joulebook.agent.workloads.workload import Workload
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import HYBRID, V1, V2, FakeCgroups

_GROUP = "/docker/" + "a" * 64


def _two_packages(tmp_path: Path, version: str) -> FakeCgroups:
    """Return cgroups on a machine with CPUs 0–3 and 4–7 in two packages."""
    fake = FakeCgroups(tmp_path, version)
    fake.roots = replace(fake.roots, sysfs=tmp_path / "sys")
    for cpu in range(8):
        topology = fake.roots.sysfs / f"devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{cpu // 4}\n")
    return fake


def _confine(fake: FakeCgroups, path: str, cpus: str) -> None:
    on_v2 = fake.version == V2
    directory = fake.roots.cgroupfs / ("" if on_v2 else "cpuset") / path.lstrip("/")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ("cpuset.cpus.effective" if on_v2 else "cpuset.cpus")).write_text(cpus + "\n")


def _only(workloads: Workloads) -> Workload:
    (found,) = (each for each in workloads.workloads if each.source == "docker")
    return found


@pytest.mark.parametrize("version", [V1, V2, HYBRID])
@pytest.mark.parametrize(
    ("cpus", "packages"), [("4-5", (1,)), ("0,2-3", (0,)), ("0-7", ()), ("3-4", ()), ("", ()), ("x-", ())]
)
def test_a_cpuset_tells_the_packages(
    tmp_path: Path, version: str, cpus: str, packages: tuple[int, ...]
) -> None:
    """CPUs of one package are that package; of all, of none set up and of nonsense, nothing is told."""
    fake = _two_packages(tmp_path, version)
    fake.make(_GROUP)
    _confine(fake, _GROUP, cpus)
    workloads = Workloads(fake.roots)
    workloads.refresh(0)
    assert _only(workloads).packages == packages
    workloads.close()


@pytest.mark.parametrize("version", [V1, V2])
def test_a_cpuset_that_changes_makes_a_new_layout(tmp_path: Path, version: str) -> None:
    """A manager that moves a container to another package is noticed within sixty ticks, and told once."""
    fake = _two_packages(tmp_path, version)
    fake.make(_GROUP)
    _confine(fake, _GROUP, "0-3")
    workloads = Workloads(fake.roots)
    workloads.refresh(0)
    _confine(fake, _GROUP, "4-7")
    changes = [workloads.refresh(tick) for tick in range(1, 121)]
    assert _only(workloads).packages == (1,)
    assert changes.count(True) == 1
    workloads.close()


def test_a_group_without_a_cpuset_has_that_of_the_nearest_above(tmp_path: Path) -> None:
    """The limit of a slice holds for the containers in it."""
    fake = _two_packages(tmp_path, V2)
    fake.make(_GROUP)
    _confine(fake, "/docker", "4-7")
    workloads = Workloads(fake.roots)
    workloads.refresh(0)
    assert _only(workloads).packages == (1,)
    workloads.close()
