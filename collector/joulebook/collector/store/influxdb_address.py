"""Where an InfluxDB is. The configuration reads this too, so it imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

_SCHEMES = {"influxdb": "http", "influxdbs": "https"}
EXPECTED = "influxdb://host:port/database, or influxdbs:// for TLS, and ?org=NAME for InfluxDB 2"


def is_influxdb(store: str) -> bool:
    """Say whether a store's name is an InfluxDB's address, sound or not."""
    return store.startswith(("influxdb:", "influxdbs:"))


def redacted(store: str) -> str:
    """Return an address without the password that has no place in it."""
    head, at, tail = store.rpartition("@")
    return f"{head.partition(':')[0]}://…@{tail}" if at else store


@dataclass(frozen=True, slots=True)
class InfluxAddress:
    """A database of a server; of InfluxDB 2 a bucket of an organisation."""

    url: str
    host: str
    database: str
    org: str = ""

    @classmethod
    def parse(cls, store: str) -> InfluxAddress:
        """Read influxdb://host:port/database?org=NAME. Raises ValueError saying what is wrong."""
        try:
            parts = urlsplit(store)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        database = parts.path.strip("/") if host else ""
        if parts.username or parts.password:
            raise ValueError("a password in the address; put it in a file and name that in store_credentials")
        asked = parse_qs(parts.query, keep_blank_values=True)
        orgs = asked.pop("org", [""])
        if asked or len(orgs) > 1 or parts.fragment:
            raise ValueError(f"expected {EXPECTED}")
        if parts.scheme not in _SCHEMES or not host or not port:
            raise ValueError(f"expected {EXPECTED}")
        if not database or "/" in database or '"' in database or "\\" in database:
            raise ValueError(f"database {database!r}: expected a name without '/', '\"' and '\\'")
        place = f"[{host}]" if ":" in host else host
        return cls(f"{_SCHEMES[parts.scheme]}://{place}:{port}", host, database, orgs[0])
