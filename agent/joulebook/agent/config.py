"""What an agent can be told."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

_SYSTEM_SOCKET = Path("/run/joulebook/agent.sock")


class AgentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent] of the configuration."""

    # Name in the books; empty: this machine's host name.
    node: str = ""
    # host:port of the collector's gRPC.
    collector: str = "127.0.0.1:8461"
    # PEM file of the authority that signed the collector's certificate; empty: no TLS.
    tls_ca: str = ""
    # How often everything is read.
    tick_s: float = 1.0
    # How much time one Report covers.
    report_s: float = 10.0
    # Reports kept in memory while no collector can be reached.
    outbox_reports: int = 8640
    # Unix socket of `joulebook run`; empty: agent.sock in /run/joulebook as root or as a service, else in
    # $XDG_RUNTIME_DIR.
    socket: str = ""
    procfs: str = "/proc"
    sysfs: str = "/sys"
    cgroupfs: str = "/sys/fs/cgroup"
    devfs: str = "/dev"
    # Cgroups that are jobs of their own, as paths below the hierarchy's root; * and ? match within a level.
    job_cgroups: list[str] = []
    # Other processes of joulebook on this machine, booked to the account `agent` too.
    own_pids: list[int] = []
    # Idle floors by domain, in mW, where they are known better than they can be learnt: {"cpu.0" = 18000}.
    idle_power_mw: dict[str, int] = {}

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

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = []
        if not 0.05 <= self.tick_s <= 60:
            wrong.append(f"agent.tick_s = {self.tick_s}: expected 0.05 to 60")
        if not self.tick_s <= self.report_s <= 600:
            wrong.append(f"agent.report_s = {self.report_s}: expected agent.tick_s to 600")
        if self.outbox_reports < 1:
            wrong.append(f"agent.outbox_reports = {self.outbox_reports}: expected at least 1")
        host, _, port = self.collector.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            wrong.append(f"agent.collector = {self.collector!r}: expected host:port")
        if self.tls_ca and not Path(self.tls_ca).is_file():
            wrong.append(f"agent.tls_ca = {self.tls_ca!r}: no such file")
        for name in ("procfs", "sysfs", "cgroupfs", "devfs"):
            if not Path(getattr(self, name)).is_absolute():
                wrong.append(f"agent.{name} = {getattr(self, name)!r}: expected an absolute path")
        wrong += [
            f"agent.idle_power_mw.{domain!r} = {power}: expected 0 or more"
            for domain, power in self.idle_power_mw.items()
            if power < 0
        ]
        return wrong


def _user_socket(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_RUNTIME_DIR") or f"/tmp/joulebook-{os.geteuid()}") / "agent.sock"
