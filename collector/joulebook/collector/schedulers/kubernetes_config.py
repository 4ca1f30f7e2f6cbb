"""What a collector can be told of a Kubernetes that it asks."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from joulebook.collector.loopback import is_loopback

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class KubernetesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [collector.kubernetes]: whether its API server is asked about pods, and how."""

    # How often what it says goes into the books, and how soon it is asked again after a failure; 0: never.
    period_s: float = 0.0
    # How long an answer is waited for.
    timeout_s: float = 20.0
    # The API server, https://host:port; empty: the one of the cluster that the collector runs in.
    server: str = ""
    # Files that every container of a service account has: its token, and who signed the server's certificate.
    # Empty: no token; who the machine trusts.
    token: str = f"{_SERVICE_ACCOUNT}/token"
    ca: str = f"{_SERVICE_ACCOUNT}/ca.crt"
    # Labels or annotations of pods. What makes a pod sets them: who may, says who pays.
    user_label: str = ""
    # Empty: a pod's account is its name space.
    account_label: str = ""
    partition_label: str = "kueue.x-k8s.io/queue-name"

    def errors(self, *, insecure: bool = False) -> list[str]:
        """Return what is wrong with the values, one line each; insecure: secrets may go without TLS."""
        name = "collector.kubernetes"
        wrong = []
        if self.period_s and not 1 <= self.period_s <= 86_400:
            wrong.append(f"{name}.period_s = {self.period_s}: expected 1 to 86400, or 0 for never")
        if not 0.1 <= self.timeout_s <= 3600:
            wrong.append(f"{name}.timeout_s = {self.timeout_s}: expected 0.1 to 3600")
        if self.period_s:
            for key, file in (("token", self.token), ("ca", self.ca)):
                if file and not Path(file).is_file():
                    wrong.append(f"{name}.{key} = {file!r}: no such file")
        return wrong + self._server_errors(f"{name}.server = {self.server!r}", insecure=insecure)

    def _server_errors(self, place: str, *, insecure: bool) -> list[str]:
        if not self.server:
            return []
        expected = f"{place}: expected https://host:port, or empty in a pod"
        try:
            url = urlsplit(self.server)
            known = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            return [expected]
        if not known or url.username or url.query or url.fragment:
            return [expected]
        if self.token and url.scheme == "http" and not is_loopback(url.hostname or "") and not insecure:
            return [f"{place}: the token would go there without TLS; write https://, or say insecure"]
        return []
