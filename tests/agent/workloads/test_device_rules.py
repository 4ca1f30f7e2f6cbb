"""Which GPUs a cgroup's device rules name, where nobody else says whose they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.workloads.device_rules import domains_allowed, parse_rules
from joulebook.agent.workloads.gpuholders import GpuHolders, Holder
from joulebook.agent.workloads.workload import JOB, Workload
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import V1, V2, FakeCgroups

# As it is of a container that runc made: what every one may, then its GPU and the control device.
_RUNC = """b *:* m
c *:* m
c 1:3 rwm
c 5:2 rwm
c 136:* rwm
c 195:1 rw
c 195:255 rw
c 237:0 rw
"""


@dataclass
class RuledGpu:
    """A GPU by its number and its device files."""

    index: int
    device_numbers: frozenset[tuple[int, int]]
    rocr_devices: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    uuid: str = ""
    model: str = "H200"

    def __post_init__(self) -> None:
        self.domain, self.minor = f"gpu.{self.index}", self.index

    def processes(self, now_us: int) -> dict[int, int]:
        """Nobody is on it."""
        del now_us
        return {}


def nvidia(count: int) -> list[RuledGpu]:
    return [RuledGpu(number, frozenset(((195, number),))) for number in range(count)]


@pytest.mark.parametrize(
    ("raw", "rules"),
    [
        (_RUNC.encode(), {(1, 3), (5, 2), (136, None), (195, 1), (195, 255), (237, 0)}),
        (b"a *:* rwm\n", None),
        (b"a *:* rwm\nc 195:0 rwm\n", None),
        (b"c *:* rwm\n", None),
        (b"c *:3 rwm\n", None),
        (b"c *:* m\nb *:* rwm\n", set()),
        (b"c 195:0 r\nc 195:1 w\nc 195:2 rm\nc 195:3 wr\n", {(195, 3)}),
        (b"", set()),
        # Nothing that the kernel writes.
        (b"c 195:0\nc 195 rwm\nc -1:0 rwm\nc 195:0 rwx\nc 195:99999999999 rw\n\xff\0\nc  195:0 rwm\n", set()),
    ],
)  # fmt: skip
def test_rules(raw: bytes, rules: set[tuple[int, int | None]] | None) -> None:
    """Character devices that may be read and written; where all may, it tells nothing."""
    assert parse_rules(raw) == rules


@given(st.binary() | st.text("abc *:0159rwm\n").map(str.encode))
def test_whatever_is_there_is_read(raw: bytes) -> None:
    """Any bytes at all."""
    rules = parse_rules(raw)
    assert rules is None or all(isinstance(major, int) for major, _ in rules)


def group(directory: Path, rules: str | None = None) -> Path:
    directory.mkdir(parents=True)
    if rules is not None:
        (directory / "devices.list").write_text(rules)
    return directory


def test_a_group_or_those_in_it_tell(tmp_path: Path) -> None:
    """A pod may anything, its containers what they were given; the nearest that tell count."""
    pod = group(tmp_path / "pod", "a *:* rwm\n")
    assert domains_allowed(pod, nvidia(4), "slurm") is None
    group(pod / "one", _RUNC)
    group(pod / "one/within", "c 195:3 rw\n")
    group(pod / "two", "c 195:0 rwm\n")
    group(pod / "privileged", "a *:* rwm\n")
    (pod / "three").symlink_to("/")
    assert domains_allowed(pod, nvidia(4), "slurm") == ("gpu.0", "gpu.1")
    assert domains_allowed(group(tmp_path / "none", "c 1:3 rwm\n"), nvidia(4), "slurm") == ()
    assert domains_allowed(group(tmp_path / "all", "c 195:* rwm\n"), nvidia(2), "slurm") == ("gpu.0", "gpu.1")
    assert domains_allowed(tmp_path / "gone", nvidia(2), "slurm") is None


def test_what_tells_nothing(tmp_path: Path) -> None:
    """All GPUs in a container, which may watch them; parts of a GPU; what is no file, or endless."""
    both = group(tmp_path / "both", "c 195:* rwm\n")
    assert domains_allowed(both, nvidia(2), "docker") is None
    assert domains_allowed(both, nvidia(2), "pbs") == ("gpu.0", "gpu.1")
    divided = nvidia(2)
    divided[0].parts = {"MIG-1": 500_000}
    assert domains_allowed(both, divided, "pbs") == ("gpu.1",)
    (group(tmp_path / "directory") / "devices.list").mkdir()
    os.mkfifo(group(tmp_path / "pipe") / "devices.list")
    endless = group(tmp_path / "endless", "c 195:0 rwm\n" * 10_000)
    for path in (tmp_path / "directory", tmp_path / "pipe", endless):
        assert not domains_allowed(path, nvidia(2), "pbs")


def test_amds_by_their_render_nodes(tmp_path: Path) -> None:
    """Numbers of those are the kernel's, whatever order the GPUs are in; a partition is its GPU."""
    gpus = [
        RuledGpu(0, frozenset(((226, 130), (226, 131))), 2),
        RuledGpu(1, frozenset(((226, 128),)), 1),
        RuledGpu(2, frozenset(), 1),
    ]
    mine = group(tmp_path / "mine", "c 226:131 rw\nc 511:0 rw\n")
    assert domains_allowed(mine, gpus, "docker") == ("gpu.0",)
    assert domains_allowed(group(tmp_path / "all", "c 226:* rw\n"), gpus, "pbs") == ("gpu.0", "gpu.1")


def test_who_says_so_counts_before_rules(tmp_path: Path) -> None:
    """Rules hold until an environment tells, which is looked at again; of a pod the kubelet's word counts."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1/environ").write_text("X=1")
    allotted: dict[str, tuple[str, ...] | None] = {"prod/web": None}
    ruled = group(tmp_path / "devices", _RUNC)
    holders = GpuHolders(tmp_path, nvidia(3), lambda name: allotted[name])
    job = Holder(Workload("pbs.1", JOB, "pbs"), pid=1, ruled=ruled)
    assert holders.look([job])
    assert holders.held([job.workload]) == {"pbs.1": ("gpu.1",)}
    (ruled / "devices.list").write_text("c 195:2 rw\n")
    assert holders.look([job])
    assert holders.held([job.workload]) == {"pbs.1": ("gpu.2",)}
    (tmp_path / "1/environ").write_text("CUDA_VISIBLE_DEVICES=0")
    assert [holders.look([job]) for _ in range(2)] == [False, True]
    assert holders.held([job.workload]) == {"pbs.1": ("gpu.0",)}
    assert holders.look([])
    assert holders.held([]) == {}

    pod = Holder(Workload("k8s.1", JOB, "kubernetes", name="prod/web"), ruled=ruled)
    assert holders.look([pod])
    assert holders.held([pod.workload]) == {"k8s.1": ("gpu.2",)}
    allotted["prod/web"] = ()
    other = Holder(Workload("k8s.2", JOB, "kubernetes", name="prod/web"), ruled=ruled)
    holders.look([other])
    assert holders.held([other.workload]) == {}


@pytest.mark.parametrize(("version", "held"), [(V1, ("gpu.1",)), (V2, ())])
def test_a_job_on_a_node(tmp_path: Path, version: str, held: tuple[str, ...]) -> None:
    """The same group in v1's hierarchy of rules tells; v2 has none that could be read."""
    fake = FakeCgroups(tmp_path, version)
    path = f"/docker/{'d' * 64}"
    fake.make(path, cpu_us=1)
    if version == V1:
        group(fake.roots.cgroupfs / "devices" / path.lstrip("/"), _RUNC)
    gpus = nvidia(2)
    workloads = Workloads(fake.roots, gpus=lambda: gpus)
    workloads.refresh(1_000_000)
    (job,) = (each for each in workloads.workloads if each.source == "docker")
    assert job.gpus == held
    workloads.close()


def test_as_the_kernel_shows_them(cgroup: Callable[[str], Path], need: Callable[[str], None]) -> None:
    """Of a real group: what was denied to one that may anything is not shown, what was allowed is."""
    root = Path("/sys/fs/cgroup/devices")
    if not (root / "devices.list").exists():
        need("cgroup v1 with its devices controller")
    cgroup("/jb-rules")
    mine = root / "jb-rules"
    mine.mkdir(exist_ok=True)
    (mine / "devices.deny").write_text("c 195:0 rwm")
    assert domains_allowed(mine, nvidia(2), "slurm") is None
    (mine / "devices.deny").write_text("a")
    for rule in ("c 1:3 rwm", "c 195:1 rw"):
        (mine / "devices.allow").write_text(rule)
    assert domains_allowed(mine, nvidia(2), "slurm") == ("gpu.1",)
