"""Which hierarchy each figure comes from."""

from pathlib import Path

import pytest

from joulebook.agent.workloads.hierarchy import cgroup_paths, locate, parse_proc_cgroup

HYBRID = ["cpuacct/", "memory/", "blkio/", "systemd/", "unified/cgroup.controllers="]


@pytest.mark.parametrize(
    ("tree", "files"),
    [
        (["cgroup.controllers=cpu io memory"], ["cpu.stat", "memory.current", "io.stat"]),
        (
            HYBRID,
            [
                "cpuacct/cpuacct.usage",
                "memory/memory.usage_in_bytes",
                "blkio/blkio.throttle.io_service_bytes_recursive",
            ],
        ),
        (["cpu,cpuacct/", "memory/"], ["cpu,cpuacct/cpuacct.usage", "memory/memory.usage_in_bytes", None]),
        (
            ["systemd/", "unified/cgroup.controllers=memory io"],
            ["unified/cpu.stat", "unified/memory.current", "unified/io.stat"],
        ),
        (
            ["memory/", "unified/cgroup.controllers=io"],
            ["unified/cpu.stat", "memory/memory.usage_in_bytes", "unified/io.stat"],
        ),
        (["memory/"], [None, "memory/memory.usage_in_bytes", None]),
        (["systemd/"], [None, None, None]),
        ([], [None, None, None]),
    ],
    ids=["v2", "hybrid", "v1 joined", "unified only", "no cpuacct", "memory only", "none", "empty"],
)
def test_each_figure_has_one_place(tmp_path: Path, tree: list[str], files: list[str | None]) -> None:
    """CPU time, memory and IO each come from the controller that this kernel mounted."""
    for entry in tree:
        path, _, content = entry.partition("=")
        if path.endswith("/"):
            (tmp_path / path).mkdir()
        else:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(content)
    found = locate(tmp_path)
    assert [
        each and str((each.root / each.file).relative_to(tmp_path))
        for each in (found.cpu, found.memory, found.io)
    ] == files


def test_proc_cgroup_names_every_controller() -> None:
    """Joined controllers share a path, v2 has no name, and a path may hold colons."""
    raw = b"5:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/system.slice:cri:x\n"
    assert parse_proc_cgroup(raw) == {
        "cpu": "/a",
        "cpuacct": "/a",
        "name=systemd": "/b",
        "": "/system.slice:cri:x",
    }


def test_process_that_is_gone_has_no_paths(tmp_path: Path) -> None:
    """A process that cannot be read stands in no cgroup."""
    assert cgroup_paths(tmp_path, 1) == {}
