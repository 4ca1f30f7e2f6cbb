"""Where a VictoriaMetrics is. The configuration reads this too, so it imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_SCHEMES = {"victoriametrics": "http", "victoriametricss": "https"}
EXPECTED = (
    "victoriametrics://host:port, or victoriametricss:// for TLS, with a path where it is served below one"
)


def is_victoriametrics(store: str) -> bool:
    """Say whether a store's name is a VictoriaMetrics' address, sound or not."""
    return store.startswith(("victoriametrics:", "victoriametricss:"))


@dataclass(frozen=True, slots=True)
class VictoriaAddress:
    """A server, or what leads to a cluster, as a URL without a slash at its end."""

    url: str
    host: str

    @classmethod
    def parse(cls, store: str) -> VictoriaAddress:
        """Read victoriametrics://host:port/path. Raises ValueError saying what is wrong."""
        try:
            parts = urlsplit(store)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(f"expected {EXPECTED}") from None
        if parts.username or parts.password:
            raise ValueError("a password in the address; put it in a file and name that in store_credentials")
        if parts.scheme not in _SCHEMES or not host or not port or parts.query or parts.fragment:
            raise ValueError(f"expected {EXPECTED}")
        place = f"[{host}]" if ":" in host else host
        return cls(f"{_SCHEMES[parts.scheme]}://{place}:{port}{parts.path.rstrip('/')}", host)
