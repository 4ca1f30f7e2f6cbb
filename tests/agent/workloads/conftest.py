"""Real cgroups, gone again after the test."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulebook.agent.workloads.hierarchy import locate
from tests.agent.workloads.runnode import NOBODY, Node, node_in

_CGROUPFS = Path("/sys/fs/cgroup")


def missing(what: str) -> None:
    """Skip a test that this machine cannot run; on CI it must."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"needs {what}")


@pytest.fixture(scope="session")
def need() -> Callable[[str], None]:
    """Return missing()."""
    return missing


@pytest.fixture
def cgroup() -> Iterator[Callable[[str], Path]]:
    """Return a maker of real groups: takes a path, gives the directory that counts CPU time."""
    hierarchies = locate(_CGROUPFS)
    # Engines make groups in every hierarchy: what was not there before goes.
    roots = {
        each.parent.resolve() for each in (*_CGROUPFS.glob("cgroup.procs"), *_CGROUPFS.glob("*/cgroup.procs"))
    }
    lacking: list[Path] = []

    def make(path: str) -> Path:
        if hierarchies.cpu is None:
            missing("a cgroup hierarchy that counts CPU time")
        assert hierarchies.cpu
        for root in roots:
            directory = root / path.lstrip("/")
            above = [each for each in directory.parents if each.is_relative_to(root)]
            lacking.extend(each for each in reversed([directory, *above]) if not each.exists())
        for controller in (hierarchies.cpu, hierarchies.memory):
            try:
                if controller is not None:
                    controller.directory(path).mkdir(parents=True, exist_ok=True)
            except OSError:
                missing("the right to make cgroups")
        return hierarchies.cpu.directory(path)

    yield make
    for directory in reversed(lacking):
        _remove(directory)


def _remove(directory: Path) -> None:
    deadline_s = time.monotonic() + 60
    while directory.exists():
        with contextlib.suppress(OSError):  # a process that ended leaves its group a moment later
            directory.rmdir()
            return
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{directory} is still in use")
        time.sleep(0.005)


@pytest.fixture
def node() -> Iterator[Node]:
    # Other users must reach the socket: pytest's directories are closed to them.
    with tempfile.TemporaryDirectory(prefix="joulebook-run-") as name:
        Path(name).chmod(0o755)
        yield from node_in(Path(name))


@pytest.fixture(params=[0, NOBODY], ids=["own cgroup", "process tree"])
def uid(request: pytest.FixtureRequest, need: Callable[[str], None]) -> int:
    """The two ways to follow a command: root makes it a cgroup, others cannot."""
    if os.getuid() != 0:
        need("root")
    uid: int = request.param
    return uid
