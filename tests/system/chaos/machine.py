"""A machine apart: namespaces of processes, mounts and networks, which end with what runs in them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

_APART = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def lacking() -> str:
    """Return what this machine lacks for it; empty where it has all."""
    if os.geteuid():
        return "root"
    if missing := [tool for tool in ("unshare", "nsenter", "ip", "mount") if shutil.which(tool) is None]:
        return ", ".join(missing)
    trial = "ip link add name jb0 type veth peer name jb1 && mount -t tmpfs -o size=64k tmpfs /mnt"
    tried = subprocess.run([*_APART, "sh", "-c", trial], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"the right to make namespaces ({tried.stderr.strip()})"


def run_apart(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.system.chaos.run` there with arguments; nothing it began outlives it.

    What it prints is returned, and what it says passes through.
    """
    command = [*_APART, sys.executable, "-m", "tests.system.chaos.run", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)


def do(*command: str) -> str:
    """Run a command that must succeed, and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """A network of one's own, wired to where the collectors are."""

    def __init__(self, number: int) -> None:
        self._wire = f"jb{number}"
        self.collector_host, own = f"10.77.{number}.1", f"10.77.{number}.2"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        do("ip", "link", "add", self._wire, "type", "veth", "peer", "name", "eth0", "netns", self._pid)
        do("ip", "addr", "add", f"{self.collector_host}/24", "dev", self._wire)
        for command in (("addr", "add", f"{own}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            do(*self.inside, "ip", *command)
        self.mend()

    @property
    def _pid(self) -> str:
        return str(self._holder.pid)

    @property
    def inside(self) -> tuple[str, ...]:
        """Return what runs a command in it."""
        return ("nsenter", "-t", self._pid, "-n", "--")

    def cut(self) -> None:
        """Let nothing through, and tell nobody."""
        do("ip", "link", "set", self._wire, "down")

    def received(self) -> int:
        """Return how many packets came out of it, ever."""
        (link,) = json.loads(do("ip", "-j", "-s", "link", "show", "dev", self._wire))
        return int(link["stats64"]["rx"]["packets"])

    def mend(self) -> None:
        """Let everything through."""
        do("ip", "link", "set", self._wire, "up")

    def close(self) -> None:
        """Let go of it."""
        self._holder.communicate()


class SmallDisk:
    """A file system of some hundred KiB, which can be filled to the last byte."""

    def __init__(self, path: Path, size_kib: int) -> None:
        path.mkdir(parents=True)
        self._path, self._filler = path, path / "filler"
        do("mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(path))

    def fill(self) -> None:
        """Take what room there is; said again it takes what was given back meanwhile."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def close(self) -> None:
        """Let go of it."""
        do("umount", str(self._path))

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink(missing_ok=True)
