"""What the agent costs its node, beside node_exporter and beside merely reading the same files."""

import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.processes import cgroups, free_port, joulebook, node_exporter, running
from tests.bench.rows import Row, process_cpu_ns, pss_kib, rounds, row

_WORKLOADS = 20
_ROUNDS = 5
_TICKS = 10
# Reads the files named on its standard input once a second and throws the bytes away. Memory gauges of
# workloads in turns of five, as the agent does.
_FLOOR = """
import os, sys, time
names = sys.stdin.read().split("\\n")
fds = [os.open(n, os.O_RDONLY) for n in names if n and not n.rpartition("/")[2].startswith("memory.")]
gauges = [os.open(n, os.O_RDONLY) for n in names if n.rpartition("/")[2].startswith("memory.")]
turn, due = 0, time.monotonic() + 1
while True:
    time.sleep(max(0, due - time.monotonic()))
    due += 1
    for fd in fds:
        os.pread(fd, 16384, 0)
    for fd in gauges[turn % 5 :: 5]:
        os.pread(fd, 64, 0)
    turn += 1
"""


def _kept_files(pid: int) -> list[str]:
    """Return the kernel's files that a process holds open."""
    held = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(fd.readlink())
        except FileNotFoundError:
            continue
        if target.startswith(("/proc/", "/sys/")) and Path(target).is_file():
            held.add(target.replace(f"/proc/{pid}/", "/proc/self/"))
    return sorted(held)


@contextmanager
def _floor(files: list[str]) -> Iterator[int]:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, "\n".join(files).encode())
    os.close(write_fd)
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-S", "-c", _FLOOR],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, read_fd, 0)],
    )
    os.close(read_fd)
    try:
        yield pid
    finally:
        os.kill(pid, 15)
        os.waitpid(pid, 0)


def measure() -> list[Row]:
    """Return CPU a tick with 20 workloads, the ratio to the read floor, and memory."""
    http, grpc_port, peer_port = free_port(), free_port(), free_port()
    with (
        tempfile.TemporaryDirectory() as directory,
        cgroups(_WORKLOADS),
        running(
            joulebook(
                "collector",
                f"--http=127.0.0.1:{http}",
                f"--grpc=127.0.0.1:{grpc_port}",
                f"--store={directory}/bench.duckdb",
            ),
            grpc_port,
        ),
        running(node_exporter(peer_port), peer_port) as exporter,
        running(
            joulebook("agent", f"--collector=127.0.0.1:{grpc_port}"),
            JOULEBOOK__AGENT__SOCKET=f"{directory}/agent.sock",
            JOULEBOOK__AGENT__SPOOL=f"{directory}/spool",
        ) as agent,
    ):
        time.sleep(8)
        with _floor(_kept_files(agent)) as floor:
            url = f"http://127.0.0.1:{peer_port}/metrics"
            for _ in range(3):
                urllib.request.urlopen(url).read()

            def one_round() -> list[float]:
                pids = (agent, exporter, floor)
                before = [process_cpu_ns(pid) for pid in pids]
                for _ in range(_TICKS):
                    urllib.request.urlopen(url).read()
                    time.sleep(1)
                return [
                    (process_cpu_ns(pid) - b) / 1000 / _TICKS for pid, b in zip(pids, before, strict=True)
                ]

            ours, peer, least = rounds(_ROUNDS, one_round)
            memory_mib = pss_kib(agent) / 1024
    return [
        row(
            f"agent CPU a tick, {_WORKLOADS} workloads, streaming",
            "µs",
            ours,
            peer="node_exporter, a scrape of cpu, meminfo, diskstats, netdev, loadavg",
            peer_value=peer,
            target=0.5,
            of_ratio=True,
        ),
        row(
            "agent CPU a tick over the read floor",
            "µs",
            ours,
            peer="the same files read and thrown away, by a Python loop",
            peer_value=least,
            target=3.0,
            of_ratio=True,
        ),
        row("agent PSS", "MiB", memory_mib, target=45.0),
    ]
