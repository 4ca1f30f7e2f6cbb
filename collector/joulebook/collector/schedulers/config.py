"""What a collector can be told of schedulers that it asks."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from joulebook.collector.loopback import is_loopback


class SlurmConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [collector.slurm]: whether Slurm is asked about its jobs, and how."""

    # How often jobs are asked about, by squeue, and sacct where that no longer knows them; 0: never.
    period_s: float = 0.0
    # How long an answer is waited for.
    timeout_s: float = 20.0
    # The commands, by name or path; without sacct, what squeue has forgotten stays unknown.
    squeue: str = "squeue"
    sacct: str = "sacct"
    # The cluster's slurm.conf; empty: where Slurm looks by itself.
    slurm_conf: str = ""
    # Where slurmrestd listens, which is asked instead of the commands: http://host:port, https://host:port or
    # unix:/path. With sacct = "" it is not asked about what the controller has forgotten.
    rest: str = ""
    # A file that holds user:token, or a token of the collector's own user, as `scontrol token` gives it.
    rest_credentials: str = ""

    def errors(self, *, insecure: bool = False) -> list[str]:
        """Return what is wrong with the values, one line each; insecure: secrets may go without TLS."""
        wrong = []
        if self.period_s and not 1 <= self.period_s <= 86_400:
            wrong.append(f"collector.slurm.period_s = {self.period_s}: expected 1 to 86400, or 0 for never")
        if not 0.1 <= self.timeout_s <= 3600:
            wrong.append(f"collector.slurm.timeout_s = {self.timeout_s}: expected 0.1 to 3600")
        if not self.squeue:
            wrong.append("collector.slurm.squeue = '': expected a command")
        if self.slurm_conf and not Path(self.slurm_conf).is_file():
            wrong.append(f"collector.slurm.slurm_conf = {self.slurm_conf!r}: no such file")
        return wrong + self._rest_errors(insecure=insecure)

    def _rest_errors(self, *, insecure: bool) -> list[str]:
        wrong = []
        name = "collector.slurm.rest"
        if self.rest_credentials and not Path(self.rest_credentials).is_file():
            wrong.append(f"{name}_credentials = {self.rest_credentials!r}: no such file")
        if not self.rest or self.rest.startswith("unix:/"):
            return wrong
        expected = f"{name} = {self.rest!r}: expected http://host:port, https://host:port or unix:/path"
        try:
            url = urlsplit(self.rest)
            known = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            return [*wrong, expected]
        if not known or url.username or url.query or url.fragment:
            return [*wrong, expected]
        clear = url.scheme == "http" and not is_loopback(url.hostname or "")
        if self.rest_credentials and clear and not insecure:
            wrong.append(
                f"{name} = {self.rest!r}: credentials would go there without TLS; "
                "write https://, or say insecure"
            )
        return wrong
