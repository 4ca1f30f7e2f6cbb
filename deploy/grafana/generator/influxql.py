"""Questions in InfluxQL, as Grafana's InfluxDB data source sends them.

Only what 1.x, 2.x and 3 have in common. No fill inside a sub-query: InfluxDB 1.6 answers those wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

DATA_SOURCE = DataSourceRef(type_val="influxdb", uid="joulebook")

# ${…:regex} escapes each value; of several it makes (a|b), and All is the custom value .*
NODE = '"node" =~ /^${node:regex}$/'
JOB = '"account" =~ /^${job:regex}$/'
WORKLOAD = '"workload" =~ /^${workload:regex}$/'
A_JOB = '"account" =~ /^job:/'
NO_JOB = '"account" !~ /^job:/'
# A GPU's domain and its device have one name.
DOMAIN = '"domain" =~ /^${gpu:regex}$/'
DEVICE = '"device" =~ /^${gpu:regex}$/'
A_GPU = '"domain" =~ /^gpu\\./'
# A gap's row holds, at its end, all that passed in it: part of every total, but no power at that moment.
WATCHED = "\"gap\" = ''"
UNWATCHED = "\"gap\" = '1'"


def over_time(
    columns: str | Sequence[str],
    measurement: str,
    *where: str,
    by: Sequence[str] = (),
    fill: str = "none",
) -> str:
    """Ask for columns by bucket of time, and by tags."""
    return _select(columns, measurement, where, ["time($__interval)", *_quoted(by)]) + f" fill({fill})"


def in_all(columns: str | Sequence[str], measurement: str, *where: str, by: Sequence[str] = ()) -> str:
    """Ask for columns over the whole of the time that is shown, by tags."""
    return _select(columns, measurement, where, _quoted(by))


def _quoted(names: Sequence[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _select(
    columns: str | Sequence[str], measurement: str, where: Sequence[str], groups: Sequence[str]
) -> str:
    columns = [columns] if isinstance(columns, str) else columns
    condition = " AND ".join([*where, "$timeFilter"])
    by = f" GROUP BY {', '.join(groups)}" if groups else ""
    return f'SELECT {", ".join(columns)} FROM "{measurement}" WHERE {condition}{by}'


class Target(Dataquery, Builder[Dataquery]):
    """A panel's question. The SDK has none for InfluxDB, so this is both its model and its builder."""

    def __init__(self, query: str, alias: str = "", *, table: bool = False) -> None:
        self.query = query
        self.alias = alias
        self.table = table
        self.ref_id = "A"

    def build(self) -> Dataquery:
        """Return itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """Return Grafana's form."""
        return {
            "datasource": DATA_SOURCE,
            "refId": self.ref_id,
            "rawQuery": True,
            "query": self.query,
            "alias": self.alias,
            "resultFormat": "table" if self.table else "time_series",
        }
