"""What is known of a pod: its name from its logs' directory, what it asked for from its cgroup."""

from dataclasses import replace
from pathlib import Path

import pytest

from joulebook.agent.workloads.gpuholders import GpuHolders, Holder
from joulebook.agent.workloads.workload import JOB, Workload
from joulebook.agent.workloads.workloads import Workloads
from tests.agent.workloads.test_gpuholders import NamedGpu
from tests.fixtures.cgroups.fake import FakeCgroups, build
from tests.fixtures.nvml.standin import uuid_of

_UID = "0a1b2c3d-1111-2222-3333-444455556666"
_V2 = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{_UID.replace('-', '_')}.slice"


class Node:
    """A node with a pod, whose kubelet keeps logs beside the cgroups."""

    def __init__(self, layout: str, directory: Path) -> None:
        self.fake: FakeCgroups = build(layout, directory)
        self.logs = directory / "pods"
        self.logs.mkdir()
        self.workloads = Workloads(replace(self.fake.roots, pod_logs=self.logs))
        self._now_us = 0

    def pod(self) -> Workload:
        """Return the pod as it is known after another tick."""
        self._now_us += 1_000_000
        self.workloads.refresh(self._now_us)
        return next(each for each in self.workloads.workloads if each.id == f"k8s.{_UID}")


def test_a_pod_is_named_when_its_directory_is_there(tmp_path: Path) -> None:
    """The kubelet makes the cgroup first; the pod is booked by its UID at once and named a tick later."""
    node = Node("v2-kubernetes", tmp_path)
    assert node.pod().name == ""
    (node.logs / f"other_web-1_{'f' * 8}{_UID[8:]}").mkdir()
    (node.logs / f"shop_web-0_{_UID}").mkdir()
    assert node.pod().name == "shop/web-0"
    node.workloads.close()


@pytest.mark.parametrize(
    ("weight", "millicpus"), [("1", 0), ("20", 488), ("39", 975), ("79", 1999), ("10000", 256_000), ("x", 0)]
)
def test_requests_are_read_off_the_weight(weight: str, millicpus: int, tmp_path: Path) -> None:
    """cpu.weight is what the kubelet made of the requests, to 26 thousandths of a CPU; 1 is none."""
    node = Node("v2-kubernetes", tmp_path)
    group = node.fake.roots.cgroupfs / _V2.lstrip("/")
    (group / "cpu.weight").write_text(f"{weight}\n")
    (group / "memory.max").write_text("1073741824\n")
    (node.logs / f"shop_web-0_{_UID}").mkdir()
    pod = node.pod()
    assert pod.reserved_millicpus == pytest.approx(millicpus, abs=2)
    assert pod.reserved_memory_bytes == 2**30
    node.workloads.close()


def test_requests_are_read_off_v1_shares(tmp_path: Path) -> None:
    """On v1 1024 shares are a CPU, exactly."""
    node = Node("v1-docker", tmp_path)
    group = node.fake.roots.cgroupfs / f"cpu/kubepods/burstable/pod{_UID}"
    group.mkdir(parents=True)
    (group / "cpu.shares").write_text("2560\n")
    (node.logs / f"shop_web-0_{_UID}").mkdir()
    assert node.pod().reserved_millicpus == 2500
    node.workloads.close()


def test_a_pod_holds_what_all_of_its_containers_were_given(tmp_path: Path) -> None:
    """Each container's processes know of its own GPUs alone; the pod holds them together, once each."""
    gpus = [NamedGpu(0, minor=0), NamedGpu(1, minor=1), NamedGpu(2, minor=2)]
    group = tmp_path / "pod"
    given = {11: "void", 12: uuid_of(2), 13: f"{uuid_of(0)},{uuid_of(2)}", 14: "all"}
    for pid, names in given.items():
        (group / f"container-{pid}").mkdir(parents=True)
        (group / f"container-{pid}/cgroup.procs").write_text(f"{pid}\n")
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "environ").write_text(f"NVIDIA_VISIBLE_DEVICES={names}\0")
    holders = GpuHolders(tmp_path, gpus)
    pod = Workload("k8s.a", JOB, "kubernetes")
    assert holders.look([Holder(pod, group=group)])
    assert sorted(holders.held([pod])["k8s.a"]) == ["gpu.0", "gpu.2"]
