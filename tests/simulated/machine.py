"""A machine of its own: Debian with a real systemd, booted in a container without network."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from joulebook.agent.workloads.hierarchy import cgroup_paths

_PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv"
_TOOLS = ("mmdebstrap", "systemd-nspawn", "systemd-analyze", "nsenter")
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_BOOT_S = 300.0
# Move into the groups named before "--", then be the rest.
_ENTER = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'


def lacking() -> str:
    """Return what this machine lacks to have another inside; empty where it has all."""
    if os.geteuid():
        return "root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return ", ".join(missing)
    return "" if _sources() else "Debian's or Ubuntu's package sources"


def _sources() -> list[str]:
    """Return where this machine's own packages come from, others' sources left out."""
    etc = Path("/etc/apt")
    names = ("sources.list", "sources.list.d/debian.sources", "sources.list.d/ubuntu.sources")
    return [str(etc / name) for name in names if (etc / name).is_file() and (etc / name).stat().st_size]


def _release() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise RuntimeError("/etc/os-release: no VERSION_CODENAME")


def build_tree(tree: Path, *more: str) -> None:
    """Install a small system of this machine's own release, with more packages than it needs."""
    include = ",".join((_PACKAGES, *more))
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={include}", _release()]
    subprocess.run([*command, str(tree), *_sources()], check=True, stdin=subprocess.DEVNULL)
    # Each machine gets an id of its own when it boots.
    (tree / "etc/machine-id").write_text("")


@contextmanager
def booted(machine_tree: Path, directory: Path, *, sees_host: bool = False) -> Iterator["Machine"]:
    """Boot a copy of a tree below a directory; nothing of it is left afterwards."""
    # Services of the machine run as other users: pytest's directories are closed to them.
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    tree = directory / "tree"
    try:
        subprocess.run(["cp", "--archive", "--reflink=auto", str(machine_tree), str(tree)], check=True)
        machine = Machine(tree, directory / "boot.log", sees_host=sees_host)
        try:
            yield machine
        finally:
            machine.stop()
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def build_wheels(checkout: Path, wheels: Path, python: Path) -> None:
    """Gather joulebook and all it needs, for the tree's interpreter: what a site without network would do."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(checkout)], check=True)
    (own,) = wheels.glob("joulebook-*.whl")
    version = python.resolve().name.removeprefix("python")
    download = ["download", "--dest", str(wheels), "--only-binary=:all:", "--python-version", version]
    subprocess.run([*pip, *download, f"{own}[collector,gpu,influxdb]"], check=True)


class Machine:
    """A booted tree. Leave it, and nothing of it is left.

    One that sees the host shares its network and has its processes and groups below /host: it can be the
    agent of a node whose jobs run on the host.
    """

    def __init__(self, tree: Path, log: Path, *, sees_host: bool = False) -> None:
        self.tree = tree
        host = ["--bind-ro=/proc:/host/proc", "--bind-ro=/sys/fs/cgroup:/host/cgroup"]
        # Groups are to be called as on the host.
        environ = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        environ |= {"SYSTEMD_NSPAWN_USE_CGNS": "0"} if sees_host else {}
        self._log = log
        self._groups = _make_groups()
        with log.open("wb") as lines:
            self._process = subprocess.Popen(
                [
                    *("sh", "-euc", _ENTER, "sh", *map(str, self._groups), "--"),
                    *("systemd-nspawn", "--boot", "--register=no", "--keep-unit"),
                    *(host if sees_host else ["--private-network"]),
                    *("--console=pipe", "--machine=joulebook-test", "-D", str(tree)),
                    "systemd.unified_cgroup_hierarchy=1",
                ],
                env=os.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=lines,
                start_new_session=True,
            )
        try:
            self._init = self._first_process()
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise

    def _first_process(self) -> int:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        deadline_s = time.monotonic() + _BOOT_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            for child in children.read_text().split():
                # nspawn's own helper comes first, and goes; init has the name that it was booted by.
                with suppress(FileNotFoundError):
                    if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                        return int(child)
            time.sleep(0.02)
        raise RuntimeError(f"the machine does not boot:\n{self._log.read_text(errors='replace')}")

    def _wait_until_up(self) -> None:
        deadline_s = time.monotonic() + _BOOT_S
        while time.monotonic() < deadline_s:
            # systemctl fails until the bus answers.
            state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
            if state in ("running", "degraded"):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the machine is not up:\n{self._log.read_text(errors='replace')}")

    def run(self, *command: str, check: bool = True, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command inside, with an environment of its own."""
        enter: Sequence[str] = ("nsenter", "-t", str(self._init), "-m", "-p", "-u", "-i", "-n", "-C", "--")
        become = ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups") if user else ()
        ran = subprocess.run(
            [*enter, *become, *command], env=_ENVIRONMENT, capture_output=True, text=True, check=False
        )
        if check and ran.returncode:
            raise RuntimeError(f"{' '.join(command)}: {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran

    def stop(self) -> None:
        """Power off, and remove its groups."""
        if self._process.poll() is None:
            # What nspawn takes for an orderly power-off.
            self._process.terminate()
            try:
                self._process.wait(120)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        deadline_s = time.monotonic() + 60
        for group in self._groups:
            for directory in sorted((group, *group.rglob("*/")), reverse=True):
                while True:
                    # Whoever outlived the machine's own end, as where nspawn had to be killed.
                    for pid in (directory / "cgroup.procs").read_text().split():
                        with suppress(ProcessLookupError):
                            os.kill(int(pid), signal.SIGKILL)
                    try:
                        directory.rmdir()
                        break
                    except OSError:
                        # What was killed leaves its group a moment later.
                        if time.monotonic() > deadline_s:
                            raise
                        time.sleep(0.05)


def _make_groups() -> list[Path]:
    """Make groups of the machine's own, in the hierarchies that a systemd uses, below ours."""
    mounts = {
        "": [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")],
        "name=systemd": [Path("/sys/fs/cgroup/systemd")],
    }
    paths = cgroup_paths(Path("/proc"), "self")
    groups = []
    for key, roots in mounts.items():
        root = next((each for each in roots if (each / "cgroup.procs").exists()), None)
        if root is not None and key in paths:
            group = root / paths[key].lstrip("/") / f"joulebook-test-{os.getpid()}"
            group.mkdir()
            groups.append(group)
    return groups
