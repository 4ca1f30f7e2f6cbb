"""Real containers, where their engines put them."""

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulebook.agent.source import Roots
from joulebook.agent.workloads.column import CPU, MEMORY
from joulebook.agent.workloads.hierarchy import locate
from joulebook.agent.workloads.workload import JOB, SYSTEM, Workload
from joulebook.agent.workloads.workloads import Workloads
from tests.agent.workloads.test_device_rules import nvidia
from tests.fixtures.cgroups.container import Runc
from tests.fixtures.cgroups.podman import Podman

BURN = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done >/tmp/done; exec busybox sleep 600"


@pytest.fixture
def runc(tmp_path: Path, need: Callable[[str], None]) -> Iterator[Runc]:
    programs = shutil.which("runc"), shutil.which("busybox")
    if os.getuid() != 0 or not all(programs):
        need("root, runc and busybox-static")
    containers = Runc(tmp_path / "runc", *map(str, programs))
    yield containers
    containers.stop()


SHAPES = [
    ("/docker/{id}", "docker"),
    ("/kubepods/burstable/podjb-{token}/{id}", "containerd"),
    ("/default/{id}", "containerd"),
    ("/libpod_parent/libpod-{id}", "podman"),
    ("/kubepods/besteffort/podjb-{token}/crio-{id}", "crio"),
]


class Watched:
    """The workloads of this machine, tick by tick."""

    def __init__(self, roots: Roots | None = None) -> None:
        self.workloads = Workloads(roots or Roots())
        self.tick_us = 0
        self.workloads.refresh(0)

    def there(self) -> dict[str, Workload]:
        """Return what is there after another tick."""
        self.tick_us += 1
        self.workloads.refresh(self.tick_us)
        return {each.id: each for each in self.workloads.workloads}

    def cpu_us(self, workload_id: str) -> int:
        """Return the CPU time of a workload as it is read; its memory is read too, where the kernel tells."""
        read = dict(zip(self.workloads.series, self.workloads.read(self.tick_us), strict=True))
        own = {series.metric: value for series, value in read.items() if series.workload == workload_id}
        assert own.get(MEMORY, 0) > 0 or not locate(Path("/sys/fs/cgroup")).memory
        return own[CPU]

    def ended(self) -> list[tuple[str, int]]:
        """Return what ended by another tick, with its exit status."""
        self.there()
        self.workloads.read(self.tick_us)
        return [(workload_id, status) for workload_id, _, status in self.workloads.ended()]


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    made.workloads.close()


def wait_for_work(pid: int) -> None:
    """Wait until the work of a container is done."""
    done = Path(f"/proc/{pid}/root/tmp/done")
    while not done.exists():
        time.sleep(0.005)


def test_a_container_holds_the_gpu_that_it_was_given(
    runc: Runc, cgroup: Callable[[str], Path], need: Callable[[str], None]
) -> None:
    """By the device rules that a real runc writes on v1: nothing in the container says whose GPU it is."""
    if not Path("/sys/fs/cgroup/devices/devices.list").exists():
        need("cgroup v1 with its devices controller")
    container_id = os.urandom(32).hex()
    cgroup("/docker")
    runc.start("c", f"/docker/{container_id}", "exec busybox sleep 600", devices=[(195, 1), (195, 255)])
    gpus = nvidia(2)
    workloads = Workloads(Roots(), gpus=lambda: gpus)
    workloads.refresh(1)
    held = {each.id: each.gpus for each in workloads.workloads if each.gpus}
    workloads.close()
    runc.remove("c")
    assert held == {f"docker.{container_id[:12]}": ("gpu.1",)}


@pytest.mark.parametrize(("shape", "engine"), SHAPES, ids=[f"{engine} {path}" for path, engine in SHAPES])
def test_container_comes_is_read_and_goes(
    runc: Runc, cgroup: Callable[[str], Path], watched: Watched, shape: str, engine: str
) -> None:
    """A container is found by its engine's path, shows the kernel's CPU time, and is told when it ends."""
    container_id, token = os.urandom(32).hex(), os.urandom(4).hex()
    path = shape.format(id=container_id, token=token)
    # Made, and so removed again, by the fixture; runc makes only the last one.
    group = cgroup(path.rpartition("/")[0]) / path.rpartition("/")[2]
    workload_id = f"{engine}.{container_id[:12]}"
    pid = runc.start("c", path, BURN)
    assert workload_id in watched.there()
    wait_for_work(pid)
    before_us = _kernel_us(group)
    assert 0 < before_us <= watched.cpu_us(workload_id) <= _kernel_us(group)
    runc.remove("c")
    assert (workload_id, -1) in watched.ended()


PODS = [
    ("/kubepods/burstable/pod{uid}", "{id}"),
    ("/kubepods/pod{uid}", "crio-{id}"),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid_}.slice",
        "cri-containerd-{id}.scope",
    ),
]


@pytest.mark.parametrize(("shape", "of_container"), PODS, ids=[f"{pod}/{name}" for pod, name in PODS])
def test_a_pod_of_real_containers_is_one_job(
    runc: Runc, cgroup: Callable[[str], Path], tmp_path: Path, shape: str, of_container: str
) -> None:
    """Sandbox and container are the pod's account alone; a container may end, the pod ends with its group."""
    uid = str(uuid.uuid4())
    pod = cgroup(path := shape.format(uid=uid, uid_=uid.replace("-", "_")))
    (logs := tmp_path / "pods").mkdir()
    (logs / f"shop_web-0_{uid}").mkdir()
    watched = Watched(Roots(pod_logs=logs))
    ids = {name: os.urandom(32).hex() for name in ("sandbox", "work")}
    within = {name: f"{path}/{of_container.format(id=each)}" for name, each in ids.items()}
    runc.start("sandbox", within["sandbox"], "exec busybox sleep 600")
    pid = runc.start("work", within["work"], BURN)
    there = watched.there()
    assert there[f"k8s.{uid}"].name == "shop/web-0"
    assert not [each for each in there if any(one[:12] in each for one in ids.values())]
    wait_for_work(pid)
    before_us = _kernel_us(pod)
    used_us = watched.cpu_us(f"k8s.{uid}")
    assert 0 < before_us <= used_us <= _kernel_us(pod)
    runc.remove("work")
    assert watched.ended() == []
    assert watched.cpu_us(f"k8s.{uid}") >= used_us
    runc.remove("sandbox")
    for root in locate(Path("/sys/fs/cgroup")).walked:
        (root / path.lstrip("/")).rmdir()
    assert (f"k8s.{uid}", -1) in watched.ended()
    watched.workloads.close()


@pytest.fixture
def podman(need: Callable[[str], None]) -> Iterator[Podman]:
    programs = shutil.which("podman"), shutil.which("busybox")
    if os.getuid() != 0 or not all((*programs, shutil.which("runc"))):
        need("root, podman, runc and busybox-static")
    # Podman takes no longer path than 50 characters.
    with tempfile.TemporaryDirectory(prefix="joulebook-") as directory:
        containers = Podman(Path(directory), *map(str, programs))
        yield containers
        containers.stop()


def test_a_container_of_podmans_own(cgroup: Callable[[str], Path], podman: Podman, watched: Watched) -> None:
    """Podman's container is a job where Podman puts it, and its monitor is the system's."""
    # The fixture removes what Podman leaves.
    parent = cgroup("/libpod_parent/conmon").parent
    container_id, pid = podman.start(BURN)
    there = watched.there()
    workload_id = f"podman.{container_id[:12]}"
    assert there[workload_id].kind == JOB
    assert there["unit.conmon"].kind == SYSTEM
    wait_for_work(pid)
    group = parent / f"libpod-{container_id}"
    before_us = _kernel_us(group)
    assert 0 < before_us <= watched.cpu_us(workload_id) <= _kernel_us(group)
    podman.remove(container_id)
    assert (workload_id, -1) in watched.ended()


def _kernel_us(group: Path) -> int:
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) // 1000
    return int((group / "cpu.stat").read_text().split()[1])
