"""What the alerts can be told."""

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from joulebook.collector.alerts.names import unknown
from joulebook.collector.loopback import is_loopback
from joulebook.collector.store.influxdb_address import redacted


class AlertsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [alerts] of the configuration."""

    # Alertmanagers, all of them: http://host:port, with a path where they are served below one. Empty: alerts
    # are kept and shown, and sent to nobody.
    alertmanagers: list[str] = []
    # A file that holds one line, user:password or a bearer token, for all of them; empty: none.
    alertmanager_credentials: str = ""
    # Where people reach this collector's page; alerts link to it. Empty: where it listens.
    external_url: str = ""
    # How often alerts are judged, and sent again while they fire.
    evaluate_s: float = 10.0
    resend_s: float = 60.0
    # SQLite file that alerts are kept in. Empty: beside the embedded store, or where that would be.
    file: str = ""
    # How long resolved alerts are kept.
    keep_days: float = 30.0
    # A GPU that a job holds at utilisation 0, for this long of reported time, while its power is in the idle
    # band: up to this share of the way from its idle floor to its power limit.
    gpu_held_idle_for_s: float = 900.0
    gpu_held_idle_band: float = 0.2
    # A job that uses at most this share of the CPUs that it reserved, and none of the GPUs.
    cpu_held_idle_for_s: float = 900.0
    cpu_held_idle_share: float = 0.05
    # A node that is on without a job.
    node_unallocated_for_s: float = 1800.0
    # A node whose agent said nothing, and for how long it is told of before it is taken for gone.
    agent_silent_for_s: float = 120.0
    agent_silent_forget_days: float = 7.0
    # A meter or a spool that an agent says is suspect.
    source_suspect_for_s: float = 60.0
    # How often the books of the time since the last check are checked against the raw readings.
    audit_s: float = 300.0
    # Rules that are not watched, by name.
    disabled: list[str] = []

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = []
        for name in ("evaluate_s", "resend_s", "keep_days", "agent_silent_forget_days", "audit_s"):
            if not 0 < getattr(self, name) <= 1e6:
                wrong.append(f"alerts.{name} = {getattr(self, name)}: expected above 0, at most 1000000")
        for name in self.__struct_fields__:
            if name.endswith("_for_s") and not 0 <= getattr(self, name) <= 1e7:
                wrong.append(f"alerts.{name} = {getattr(self, name)}: expected 0 to 10000000")
        for name in ("gpu_held_idle_band", "cpu_held_idle_share"):
            if not 0 <= getattr(self, name) < 1:
                wrong.append(f"alerts.{name} = {getattr(self, name)}: expected 0 to below 1, a share")
        wrong += self._url_errors()
        if self.alertmanager_credentials and not Path(self.alertmanager_credentials).is_file():
            wrong.append(
                f"alerts.alertmanager_credentials = {self.alertmanager_credentials!r}: no such file; "
                "expected one that holds user:password or a token"
            )
        return [*wrong, *(f"alerts.disabled: {line}" for line in unknown(self.disabled))]

    def _url_errors(self) -> list[str]:
        wrong = []
        for name, urls in (
            ("alertmanagers", self.alertmanagers),
            ("external_url", [self.external_url] if self.external_url else []),
        ):
            wrong += [
                f"alerts.{name} = {redacted(url)!r}: expected http://host:port or https://host:port"
                for url in urls
                if not _is_url(url)
            ]
        if len(set(self.alertmanagers)) < len(self.alertmanagers):
            wrong.append(f"alerts.alertmanagers = {self.alertmanagers}: expected each of them once")
        if self.alertmanager_credentials:
            wrong += [
                f"alerts.alertmanagers = {url!r}: credentials would go there without TLS; write https://"
                for url in self.alertmanagers
                if _is_url(url) and _is_clear(url)
            ]
        return wrong


def _is_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError:
        return False
    # A password has no place in an address: that is shown in logs and metrics.
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port_is_sound and plain
