"""What an agent can be told."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from joulebook.agent.settings import SourceSettings

_SYSTEM_SOCKET = Path("/run/joulebook/agent.sock")


class AgentConfig(SourceSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent] of the configuration; the sections of sources are within it."""

    # Name in the books; empty: this machine's host name.
    node: str = ""
    # host:port of the collector's gRPC; several with commas between, the preferred one first.
    collector: str = "127.0.0.1:8461"
    # PEM file of the authority that signed the collector's certificate; empty: no TLS.
    tls_ca: str = ""
    # How often everything is read.
    tick_s: float = 1.0
    # How much time one Report covers.
    report_s: float = 10.0
    # Directory where Reports wait until a collector has them; memory: nowhere, they are lost with the agent;
    # empty: spool in /var/lib/joulebook as root, in the service's directory as a service, else in
    # $XDG_STATE_HOME/joulebook.
    spool: str = ""
    # How large the spool may become. At this size the oldest Reports are thinned to energy totals, and only
    # when all are, dropped.
    spool_max_bytes: int = 67108864
    # How long a Report may wait; at half of it, it is thinned.
    spool_max_age_s: int = 604800
    # While Reports wait they are brought onto the disk proper at most this often; what came since is lost
    # when the power goes.
    spool_fsync_s: float = 5.0
    # How fast Reports that waited are sent, beside the live ones.
    spool_replay_reports_per_s: float = 10.0
    # Reports kept in memory where the spool cannot be written.
    outbox_reports: int = 8640
    # Unix socket of `joulebook run`; empty: agent.sock in /run/joulebook as root or as a service, else in
    # $XDG_RUNTIME_DIR.
    socket: str = ""
    procfs: str = "/proc"
    sysfs: str = "/sys"
    cgroupfs: str = "/sys/fs/cgroup"
    devfs: str = "/dev"
    # Cgroups that are jobs of their own, as paths below the hierarchy's root; * and ? match within a level.
    job_cgroups: list[str] = msgspec.field(default_factory=list)
    # Other processes of joulebook on this machine, booked to the account `agent` too.
    own_pids: list[int] = msgspec.field(default_factory=list)
    # Idle floors by domain, in mW, where they are known better than they can be learnt: {"cpu.0" = 18000}.
    idle_power_mw: dict[str, int] = msgspec.field(default_factory=dict)

    # Whether live books split CPU packages by what each job's CPUs draw, learnt here; else by CPU time. Of
    # nodes that several jobs share it costs the agent 20 to 70 µs a tick, and stores two series a job.
    learn_cpu_power: bool = True

    def socket_path(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Return where the agent listens for `joulebook run`."""
        if self.socket:
            return Path(self.socket)
        # systemd names the service's own directory; there may be several, the first is ours.
        if directory := environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
            return Path(directory) / "agent.sock"
        return _SYSTEM_SOCKET if os.geteuid() == 0 else _user_socket(environ)

    def socket_to_call(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Return where `joulebook run` finds an agent: the user's own, where one is, else the system's."""
        if self.socket:
            return Path(self.socket)
        own = _user_socket(environ)
        return own if os.geteuid() and own.is_socket() else _SYSTEM_SOCKET

    def collectors(self) -> list[tuple[str, int]]:
        """Return host and port of every collector, the preferred one first."""
        parts = [part.strip().rpartition(":") for part in self.collector.split(",")]
        return [(host.strip("[]"), int(port)) for host, _, port in parts]

    def spool_path(self, environ: Mapping[str, str] = os.environ) -> Path | None:
        """Return where the spool is; None: in memory."""
        if self.spool:
            return None if self.spool == "memory" else Path(self.spool)
        if directory := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
            return Path(directory) / "spool"
        if os.geteuid() == 0:
            return Path("/var/lib/joulebook/spool")
        state = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(state) / "joulebook" / "spool"

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = []
        if not 0.05 <= self.tick_s <= 60:
            wrong.append(f"agent.tick_s = {self.tick_s}: expected 0.05 to 60")
        if not self.tick_s <= self.report_s <= 600:
            wrong.append(f"agent.report_s = {self.report_s}: expected agent.tick_s to 600")
        if self.outbox_reports < 1:
            wrong.append(f"agent.outbox_reports = {self.outbox_reports}: expected at least 1")
        for address in self.collector.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                wrong.append(f"agent.collector = {address.strip()!r}: expected host:port")
        if self.tls_ca and not Path(self.tls_ca).is_file():
            wrong.append(f"agent.tls_ca = {self.tls_ca!r}: no such file")
        for name in ("procfs", "sysfs", "cgroupfs", "devfs"):
            if not Path(getattr(self, name)).is_absolute():
                wrong.append(f"agent.{name} = {getattr(self, name)!r}: expected an absolute path")
        wrong += self._spool_errors()
        wrong += [
            f"agent.idle_power_mw.{domain!r} = {power}: expected 0 or more"
            for domain, power in self.idle_power_mw.items()
            if power < 0
        ]
        return wrong

    def _spool_errors(self) -> list[str]:
        wrong = []
        if self.spool not in ("", "memory") and not Path(self.spool).is_absolute():
            wrong.append(f"agent.spool = {self.spool!r}: expected an absolute path, or memory")
        for name, least, most in (
            ("spool_max_bytes", 1 << 20, 1 << 40),
            ("spool_max_age_s", 3600, 10 * 366 * 86400),
            ("spool_fsync_s", 0, 3600),
            ("spool_replay_reports_per_s", 0.1, 100_000),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                wrong.append(f"agent.{name} = {value}: expected {least} to {most}")
        return wrong


def _user_socket(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_RUNTIME_DIR") or f"/tmp/joulebook-{os.geteuid()}") / "agent.sock"
