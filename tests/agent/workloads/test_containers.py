"""Real containers, where their engines put them."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulebook.agent.source import Roots
from joulebook.agent.workloads.column import CPU, MEMORY
from joulebook.agent.workloads.hierarchy import locate
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.container import Runc

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


@pytest.mark.parametrize(("shape", "engine"), SHAPES, ids=[f"{engine} {path}" for path, engine in SHAPES])
def test_container_comes_is_read_and_goes(
    runc: Runc, cgroup: Callable[[str], Path], shape: str, engine: str
) -> None:
    """A container is found by its engine's path, shows the kernel's CPU time, and is told when it ends."""
    container_id, token = os.urandom(32).hex(), os.urandom(4).hex()
    path = shape.format(id=container_id, token=token)
    # Made, and so removed again, by the fixture; runc makes only the last one.
    group = cgroup(path.rpartition("/")[0]) / path.rpartition("/")[2]
    workloads = Workloads(Roots())
    workloads.refresh(0)
    workload_id = f"{engine}.{container_id[:12]}"
    pid = runc.start("c", path, BURN)
    assert workloads.refresh(1)
    assert workload_id in {each.id for each in workloads.workloads}
    done = Path(f"/proc/{pid}/root/tmp/done")
    while not done.exists():
        time.sleep(0.005)
    before_us = _kernel_us(group)
    values = dict(zip(workloads.series, workloads.read(1), strict=True))
    cpu_us = next(
        v for series, v in values.items() if series.workload == workload_id and series.metric == CPU
    )
    assert 0 < before_us <= cpu_us <= _kernel_us(group)
    if locate(Path("/sys/fs/cgroup")).memory:
        assert next(value for series, value in values.items() if series.metric == MEMORY) > 0
    runc.remove("c")
    workloads.refresh(2)
    workloads.read(2)
    assert (workload_id, -1) in [(ended[0], ended[2]) for ended in workloads.ended()]
    workloads.close()


def _kernel_us(group: Path) -> int:
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) // 1000
    return int((group / "cpu.stat").read_text().split()[1])
