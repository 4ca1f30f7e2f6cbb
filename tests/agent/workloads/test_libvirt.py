"""libvirt's machines without systemd, on each version of cgroups."""

from pathlib import Path

import pytest

from joulebook.agent.workloads.column import CPU
from joulebook.agent.workloads.workload import JOB
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import HYBRID, V1, V2, FakeCgroups

WEB, DB = "/machine/qemu-1-web.libvirt-qemu", "/machine/prod.partition/qemu-2-db.libvirt-qemu"


@pytest.mark.parametrize("version", [V1, V2, HYBRID])
def test_each_machine_is_an_account(version: str, tmp_path: Path) -> None:
    """Machines beside each other and in a partition are told apart, each with its threads' groups in it."""
    fake = FakeCgroups(tmp_path, version)
    for path, cpu_us in (("/machine", 900), (WEB, 500), (f"{WEB}/emulator", 100), (f"{WEB}/vcpu0", 400)):
        fake.make(path, cpu_us)
    for path in ("/machine/prod.partition", DB, f"{DB}/libvirt/vcpu0"):
        fake.make(path, 400)
    workloads = Workloads(fake.roots)
    workloads.refresh(0)
    found = {each.id: each for each in workloads.workloads if each.kind == JOB}
    assert {each.id: (each.name, each.parent) for each in found.values()} == {
        "machine.web": ("web", ""),
        "machine.db": ("db", ""),
    }
    fake.show(WEB, 700)
    fake.show("/machine", 1100)
    before = dict(zip(workloads.series, workloads.baseline(), strict=True))
    used = {
        series.workload: value - before[series]
        for series, value in zip(workloads.series, workloads.read(1), strict=True)
        if series.metric == CPU and series.workload in found
    }
    assert used == {"machine.web": 200, "machine.db": 0}
    workloads.close()
