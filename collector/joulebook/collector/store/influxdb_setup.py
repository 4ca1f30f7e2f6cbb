"""Make what an InfluxDB store needs: a database, a place that never forgets, for version 2 the mapping.

In InfluxDB 2 a database is a bucket and a retention policy another one, `database/policy`; InfluxQL finds
them through DBRP mappings.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from joulebook.collector.store.garbled import read_from
from joulebook.collector.store.influxdb_http import NAMES, InfluxServer, Series, name
from joulebook.collector.store.protocol import StoreError

# A shard holds all names: they are at time 0 or few.
_NAMES_SHARD = "520w"


def setup(server: InfluxServer, *, retention_s: int = 0, org: str = "") -> list[str]:
    """Make what is missing, keep what is there; return what was done. 0 s: nothing is ever forgotten.

    Raises StoreError, for answers that no InfluxDB gives too.
    """
    major = server.version().lstrip("v").partition(".")[0]
    with read_from(server.place):
        if major == "3":
            return _third(server, retention_s)
        if major == "2":
            return _second(server, retention_s, org or server.address.org)
        return _first(server, retention_s)


def _first(server: InfluxServer, retention_s: int) -> list[str]:
    database, kept = server.address.database, f"{retention_s}s" if retention_s else "INF"
    done = []
    if database not in _column(server.query("SHOW DATABASES")[0], "name"):
        server.query(f"CREATE DATABASE {name(database)} WITH DURATION {kept} REPLICATION 1")
        done.append(f"made database {database!r}, which keeps readings and books {_said(retention_s)}")
    if NAMES not in _column(server.query(f"SHOW RETENTION POLICIES ON {name(database)}")[0], "name"):
        server.query(
            f"CREATE RETENTION POLICY {name(NAMES)} ON {name(database)} "
            f"DURATION INF REPLICATION 1 SHARD DURATION {_NAMES_SHARD}"
        )
        done.append(f"made retention policy {NAMES!r} in {database!r}, for layouts and jobs, kept for ever")
    return done


def _column(found: list[Series], column: str) -> list[Any]:
    return [row[column] for series in found for row in series.rows()]


def _second(server: InfluxServer, retention_s: int, org: str) -> list[str]:
    if not org:
        raise StoreError(
            f"store {server.address.url}: InfluxDB 2 keeps buckets by organisation; name it with --org, "
            "or ?org=NAME in the address"
        )
    orgs = server.api("GET", f"/api/v2/orgs?{urlencode({'org': org})}").get("orgs", [])
    if not orgs:
        raise StoreError(
            f"store {server.address.url}: organisation {org!r} is not there; see `influx org list`"
        )
    org_id = orgs[0]["id"]
    database = server.address.database
    done = []
    mapped = server.api("GET", f"/api/v2/dbrps?{urlencode({'orgID': org_id, 'db': database})}").get(
        "content", []
    )
    policies = {mapping["retention_policy"] for mapping in mapped}
    for bucket, policy, kept_s in ((database, "autogen", retention_s), (f"{database}/{NAMES}", NAMES, 0)):
        asked = urlencode({"orgID": org_id, "name": bucket})
        found = server.api("GET", f"/api/v2/buckets?{asked}").get("buckets", [])
        if found:
            bucket_id = found[0]["id"]
        else:
            rules = [{"type": "expire", "everySeconds": kept_s}] if kept_s else []
            made = server.api(
                "POST", "/api/v2/buckets", {"orgID": org_id, "name": bucket, "retentionRules": rules}
            )
            bucket_id = made["id"]
            done.append(f"made bucket {bucket!r}, kept {_said(kept_s)}")
        if policy not in policies:
            mapping = {
                "orgID": org_id,
                "bucketID": bucket_id,
                "database": database,
                "retention_policy": policy,
                "default": policy != NAMES,
            }
            server.api("POST", "/api/v2/dbrps", mapping)
            done.append(f"mapped database {database!r}, retention policy {policy!r} to bucket {bucket!r}")
    return done


def _third(server: InfluxServer, retention_s: int) -> list[str]:
    """Make databases of InfluxDB 3, where a retention policy is a part of a database's name."""
    database, path = server.address.database, "/api/v3/configure/database"
    there = {row.get("iox::database") for row in server.api("GET", f"{path}?format=json", bearer=True)}
    done = []
    for made, kept_s in ((database, retention_s), (f"{database}/{NAMES}", 0)):
        if made in there:
            continue
        kept = {"retention_period": f"{kept_s // 3600}h"} if kept_s else {}
        server.api("POST", path, {"db": made} | kept, bearer=True)
        done.append(f"made database {made!r}, kept {_said(kept_s)}")
    return done


def _said(seconds: int) -> str:
    return f"for {seconds / 86400:g} days" if seconds else "for ever"
