"""An agent's run socket and workloads, with real commands under the wrapper."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from joulebook.agent.source import Roots, Series
from joulebook.agent.workloads.column import CPU
from joulebook.agent.workloads.hierarchy import cgroup_paths, locate
from joulebook.agent.workloads.rungroup import group_name
from joulebook.agent.workloads.runs import RunSocket
from joulebook.agent.workloads.runwire import BeginRun
from joulebook.agent.workloads.settings import WorkloadsConfig
from joulebook.agent.workloads.workload import Workload
from joulebook.agent.workloads.workloads import Workloads

NOBODY = 65534


# The wrapper as an ordinary program; "uid" gives up root first, as a login would.
CLIENT = """
import dataclasses, json, os, signal, sys
for number in (signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)  # tests that run in the background are to ignore them
import resource  # os.wait4 imports it late, when another user may no longer read it
from pathlib import Path
from joulebook.cli.run import run_command
asked = json.loads(sys.argv[1])
if asked["uid"]:
    os.setgroups([]); os.setgid(asked["uid"]); os.setuid(asked["uid"])
result = run_command(
    asked["argv"],
    job=asked["job"],
    name="",
    cpus=asked["cpus"],
    socket_path=Path(asked["socket"]),
    cgroupfs=Path(asked["cgroupfs"]),
)
with open(asked["result"], "w") as file:
    json.dump(dataclasses.asdict(result), file)
sys.exit(result.exit_status)
"""


def _is_ours(series: Series) -> bool:
    """Say whether this is the CPU time of a run or of the agent: other groups of the machine are not ours."""
    return series.metric == CPU and series.workload.startswith(("run.", "agent"))


class Node:
    """An agent's run socket and workloads, ticking at each edge."""

    def __init__(self, directory: Path, launchers: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.socket_path = directory / "run.sock"
        self.socket = RunSocket(self.socket_path)
        self.workloads = Workloads(Roots(), WorkloadsConfig(launchers=launchers, node="here"))
        self.now_us = 0
        self.cpu_us: dict[str, int] = {}
        self.seen: dict[str, Workload] = {}
        self.ended: dict[str, int] = {}
        self.live: set[str] = set()
        self.groups: set[str] = set()
        self.tick()

    def tick(self) -> None:
        # As on the boot clock, on which what is new is told from what is old.
        self.now_us = max(self.now_us + 1_000_000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000)
        if self.workloads.refresh(self.now_us):
            for series, value in zip(self.workloads.series, self.workloads.baseline(), strict=True):
                if _is_ours(series):
                    assert value == self.cpu_us.get(series.workload, value), (
                        "a layout begins at the last tick"
                    )
        for series, value in zip(self.workloads.series, self.workloads.read(self.now_us), strict=True):
            if _is_ours(series):
                assert value >= self.cpu_us.get(series.workload, 0), "CPU time never falls"
                self.cpu_us[series.workload] = value
        self.live = {each.id for each in self.workloads.workloads}
        self.seen |= {each.id: each for each in self.workloads.workloads}
        self.ended |= {workload_id: status for workload_id, _, status in self.workloads.ended()}

    def serve(self) -> None:
        for request in self.socket.handle():
            if isinstance(request.message, BeginRun):
                self.groups.add(group_name(request.message.token))
            self.workloads.serve(request, self.tick)

    def start(
        self,
        *argv: str,
        job: str | None = None,
        uid: int = 0,
        cpus: float = 0,
        cgroupfs: str = "/sys/fs/cgroup",
        **options: object,
    ) -> "subprocess.Popen[bytes]":
        result = self.directory / "result"
        result.mkdir(exist_ok=True)
        result.chmod(0o777)
        asked = {
            "argv": argv,
            "job": job,
            "uid": uid,
            "cpus": cpus,
            "cgroupfs": cgroupfs,
            "socket": str(self.socket_path),
            "result": str(result / "result.json"),
        }
        command = [sys.executable, "-c", CLIENT, json.dumps(asked)]
        return subprocess.Popen(command, **options)  # type: ignore[call-overload, no-any-return]

    def finish(self, client: "subprocess.Popen[bytes]") -> dict[str, object]:
        """Serve until the client has ended; return what it says."""
        while client.poll() is None:
            self.serve()
            time.sleep(0.001)
        self.serve()
        self.tick()
        self.tick()
        file = self.directory / "result" / "result.json"
        result: dict[str, object] = json.loads(file.read_text()) if file.exists() else {}
        file.unlink(missing_ok=True)
        return result

    def run(self, *argv: str, **options: object) -> dict[str, object]:
        return self.finish(self.start(*argv, **options))  # type: ignore[arg-type]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 300
        while not condition():
            assert time.monotonic() < deadline_s, "it never came about"
            self.serve()
            time.sleep(0.001)


def node_in(directory: Path) -> Iterator[Node]:
    node = Node(directory)
    before = descriptors(node)
    yield node
    node.tick()
    node.tick()
    # Zombies leave a group a moment later; the agent removes what its client could not.
    node.until(lambda: bool(tick_and_list(node)) and not run_groups(node))
    after = descriptors(node)
    node.socket.close()
    node.workloads.close()
    assert after == before, "nothing leaks"


def run_groups(node: Node) -> list[Path]:
    """Return the groups of this node's runs that are there; those of others are not ours."""
    cpu = locate(Path("/sys/fs/cgroup")).cpu
    if cpu is None:
        return []
    directory = cpu.directory(cgroup_paths(Path("/proc"), "self")[cpu.key])
    return [directory / name for name in node.groups if (directory / name).exists()]


def descriptors(node: Node) -> int:
    """Count what is open, but for the files of groups that are not of this node's runs: those come and go."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of this very listing
            target = str(descriptor.readlink())
            count += not target.startswith("/sys/fs/cgroup/") or any(name in target for name in node.groups)
    return count


def tick_and_list(node: Node) -> set[str]:
    node.tick()
    return node.live


def wait_for(node: Node, fd: int, text: bytes) -> bytes:
    """Serve and read until the text has come."""
    os.set_blocking(fd, False)
    read = bytearray()

    def came() -> bool:
        with contextlib.suppress(BlockingIOError):
            read.extend(os.read(fd, 4096))
        return text in read

    node.until(came)
    os.set_blocking(fd, True)
    return bytes(read)
