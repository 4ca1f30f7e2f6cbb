"""Slurm as it is: munged, slurmctld and a slurmd a node, on free loopback ports, under one directory.

With accounting where it is asked for: slurmdbd, and the database that it writes to.
"""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.servers.programs import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "sinfo")
ACCOUNTING_PROGRAMS = ("slurmdbd", "slurmrestd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db")
_CONFIGURATION = Path(__file__).parent
_CGROUPFS = Path("/sys/fs/cgroup")
_PATIENCE_S = 120.0
# Of the first node.
_GPUS = 2
_REST = {"SLURMRESTD_SECURITY": "disable_user_check"}
# Before a controller forgets.
_JOBS = 50


class Slurm:
    """A cluster whose nodes are all this machine; left, nothing of it remains, whatever happened."""

    def __init__(self, directory: Path, *, nodes: int = 1, accounting: bool = False) -> None:
        self._accounting = accounting
        self._nodes = [f"jb{os.getpid()}-{number}" for number in range(nodes)]
        self._directory = directory
        self.configuration = directory / "slurm.conf"
        # Where jobs of any user may write.
        self.notes = directory / "notes"
        self._environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        self._daemons: list[subprocess.Popen[bytes]] = []
        # No other Slurm of this machine has jobs of these numbers.
        self._first_job = 1000 + 2 * _JOBS * os.getpid() % 60_000_000

    def __enter__(self) -> "Slurm":
        try:
            for group in _CGROUPFS.glob("*/slurm_jb*"):
                node = group.name.removeprefix("slurm_")
                if not Path(f"/proc/{node.removeprefix('jb').partition('-')[0]}").exists():
                    _remove_groups(node)  # a test that was killed left them
            self._configure()
            socket_path, key = self._directory / "munge.sock", self._directory / "munge.key"
            files = [f"--{name}-file={self._directory}/munge.{name}" for name in ("pid", "log", "seed")]
            self._start(
                "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket_path}", *files
            )
            self._until(socket_path.exists)
            if self._accounting:
                self._start_accounting()
            self._controller = self._start("slurmctld", "-c", "-D")
            for node in self._nodes:
                self._start("slurmd", "-D", "-N", node)
            self._until_idle()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def submit(self, script: str, *options: str) -> str:
        """Queue a script; return the number of its job."""
        done = subprocess.run(
            ["sbatch", "--parsable", "--chdir=/", "--output=/dev/null", *options],
            env=self._environment,
            input=f"#!/bin/sh\n{script}\n".encode(),
            capture_output=True,
            check=True,
        )
        return done.stdout.decode().strip()

    def forget(self) -> None:
        """Have the controller forget all jobs, as one whose state was lost; accounting does not."""
        self._daemons.remove(self._controller)
        self._controller.terminate()
        self._controller.wait()
        # It counts from the first number anew: one that no job had, which accounting would take for the same.
        before, self._first_job = self._first_job, self._first_job + _JOBS
        text = self.configuration.read_text()
        self.configuration.write_text(text.replace(f"Id={before}", f"Id={self._first_job}"))
        self._controller = self._start("slurmctld", "-c", "-D")
        self._until_idle()

    def wait_for_accounting(self, job: str, state: str) -> None:
        """Wait until accounting has a job in a state."""
        asked = ("sacct", "--allocations", "--noheader", "--format=State", f"--jobs={job}")
        self._until(lambda: self._ask(*asked).decode().strip() == state)

    def token(self) -> str:
        """Return a token of root's, with which slurmrestd may be asked."""
        return f"root:{self._ask('scontrol', 'token').decode().strip()}"

    def start_rest(self) -> str:
        """Start slurmrestd at a unix socket, for root; return where it is asked."""
        unix = self._directory / "rest.sock"
        # It would rather be neither root nor Slurm's user.
        # 22.05's plugin of accounting ends it where there is none.
        plugins = () if self._accounting else ("-s", "openapi/v0.0.38")
        self._start("slurmrestd", *plugins, "-a", "rest_auth/local", f"unix:{unix}", **_REST)
        self._until(unix.exists)
        return f"unix:{unix}"

    def start_rest_with_tokens(self) -> str:
        """Start slurmrestd for whoever has a token, as a user that may ask Slurm nothing by itself."""
        port = free_port()
        who = ("-u", "nobody", "-g", "nogroup")
        self._start(
            "slurmrestd", *who, "-a", "rest_auth/jwt", f"127.0.0.1:{port}", **_REST, SLURM_JWT="daemon"
        )
        self._until(lambda: _listens(port))
        return f"http://127.0.0.1:{port}"

    def hook(self, event: str, command: str) -> None:
        """Have the controller run a command as the prolog or epilog of the jobs that come."""
        script = self._directory / f"{event}.new"
        script.write_text(f"#!/bin/sh\n{command}\n")
        script.chmod(0o755)
        script.rename(self._directory / event)

    def cancel(self, *jobs: str) -> None:
        """End jobs, by their numbers or by our names of them."""
        self._ask("scancel", *(job.removeprefix("slurm.") for job in jobs))

    def pid_of(self, job: str, command: str) -> int:
        """Wait for a command of a job that runs, by its number or our name of it; return its process."""
        found: list[int] = []

        def runs() -> bool:
            groups = (group for node in self._nodes for group in _groups(node))
            inside = [g for g in groups if f"job_{job.removeprefix('slurm.')}" in g.parts]
            for pid in {int(pid) for group in inside for pid in (group / "cgroup.procs").read_text().split()}:
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text().strip() == command:
                        found.append(pid)
            return bool(found)

        self._until(runs)
        return found[0]

    def stop(self) -> None:
        """Cancel every job, end the daemons by their ids, and remove the cgroups that they leave."""
        if len(self._daemons) > 1:
            everywhere = f"--nodelist={','.join(self._nodes)}"
            self._ask("scancel", "--full", "--signal=KILL", "--state=running", everywhere)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()
        for node in self._nodes:
            _remove_groups(node)

    def _until_idle(self) -> None:
        rest = [b"idle"] * len(self._nodes)
        self._until(lambda: self._ask("sinfo", "--noheader", "--Node", "--format=%T").split() == rest)

    def _start_accounting(self) -> None:
        """Start a database in a directory of its own and slurmdbd, and make the cluster known to it."""
        data, socket_path = self._directory / "database", self._directory / "database.sock"
        own = ["--no-defaults", f"--datadir={data}", "--user=root"]
        subprocess.run(
            ["mariadb-install-db", *own, "--auth-root-authentication-method=normal"],
            capture_output=True,
            check=True,
        )
        first = self._directory / "database.sql"
        first.write_text(
            "CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'x';\nGRANT ALL ON *.* TO slurm@'127.0.0.1';\n"
        )
        listens = [f"--port={self._ports[1]}", "--bind-address=127.0.0.1", f"--socket={socket_path}"]
        # As small as it can be: it holds a few jobs.
        small = [
            "--innodb-buffer-pool-size=16M",
            "--innodb-log-file-size=4M",
            "--skip-log-bin",
            "--skip-name-resolve",
        ]
        self._start("mariadbd", *own, *listens, *small, f"--init-file={first}")
        self._until(socket_path.exists)
        self._start("slurmdbd", "-D")
        add = ("sacctmgr", "--immediate", "add", "cluster", "joulebook")
        self._until(lambda: b"joulebook" in self._ask(*add))

    def _configure(self) -> None:
        self._ports = [str(free_port()) for _ in range(3)]
        values = {
            "@DIR@": str(self._directory),
            "@HOST@": socket.gethostname().partition(".")[0],
            "@NODES@": "\n".join(_node_line(node, has_gpus=node == self._nodes[0]) for node in self._nodes),
            "@FIRST_NODE@": self._nodes[0],
            "@CONTROLLER_PORT@": self._ports[0],
            "@DATABASE_PORT@": self._ports[1],
            "@ACCOUNTING_PORT@": self._ports[2],
            "@FIRST_JOB@": str(self._first_job),
            "@VERSION@": "v2" if (_CGROUPFS / "cgroup.controllers").exists() else "v1",
        }
        for name in ("slurm.conf", "cgroup.conf", "gres.conf", "slurmdbd.conf"):
            text = (_CONFIGURATION / name).read_text()
            if name == "slurm.conf" and self._accounting:
                text += (_CONFIGURATION / "accounting.conf").read_text()
            for mark, value in values.items():
                text = text.replace(mark, value)
            (self._directory / name).write_text(text)
        # It holds a password, and slurmdbd insists.
        (self._directory / "slurmdbd.conf").chmod(0o600)
        (self._directory / "munge.key").write_bytes(os.urandom(1024))
        (self._directory / "munge.key").chmod(0o400)
        (self._directory / "jwt.key").write_bytes(os.urandom(32))
        (self._directory / "jwt.key").chmod(0o600)
        for event in ("prolog", "epilog"):
            self.hook(event, ":")
        for name in ("state", "spool", "gpu"):
            (self._directory / name).mkdir()
        for number in range(_GPUS):
            # What the driver's device files are.
            os.mknod(self._directory / f"gpu/nvidia{number}", 0o666 | stat.S_IFCHR, os.makedev(195, number))
        self.notes.mkdir()
        self.notes.chmod(0o777)
        # Jobs of other users read their scripts in the spool.
        self._directory.chmod(0o711)

    def _start(self, program: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self._directory / f"{program}.out").open("ab") as output:
            daemon = subprocess.Popen(
                # Should this process be killed, they are too.
                ["setpriv", "--pdeathsig=KILL", program, *arguments],
                env=self._environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._daemons.append(daemon)
        return daemon

    def _ask(self, *command: str) -> bytes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                command, env=self._environment, capture_output=True, check=False, timeout=60
            )
            return done.stdout
        return b""

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not holds():
            ended = [daemon for daemon in self._daemons if daemon.poll() is not None]
            if ended or time.monotonic() > deadline_s:
                logs = "\n".join(log.read_text() for log in self._directory.glob("*.out"))
                raise RuntimeError(f"Slurm does not start:\n{logs}")
            time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _node_line(node: str, *, has_gpus: bool) -> str:
    gres = f" Gres=gpu:{_GPUS},shard:{4 * _GPUS}" if has_gpus else ""
    return f"NodeName={node} NodeAddr=127.0.0.1 Port={free_port()} CPUs=2 RealMemory=1000 State=UNKNOWN{gres}"


def _remove_groups(node: str) -> None:
    """Kill what is left in a node's cgroups, and remove them."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while groups := _groups(node):
        for group in groups:
            with contextlib.suppress(OSError):
                for pid in (group / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.rmdir()
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"cgroups still in use: {groups}")
        time.sleep(0.02)


def _groups(node: str) -> list[Path]:
    """Return a node's cgroups in every hierarchy, innermost first."""
    names = (f"slurm_{node}", f"system.slice/{node}_slurmstepd.scope")
    tops = [top for name in names for top in (*_CGROUPFS.glob(name), *_CGROUPFS.glob(f"*/{name}"))]
    below = [path for top in tops for path in top.rglob("*") if path.is_dir()]
    return sorted((*tops, *below), key=lambda path: -len(path.parts))
