"""The dashboards as they are committed, and a database with an hour in it to ask them of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.influxdb_http import InfluxServer, Series
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.rows import AccountRow
from tests.servers.grafana import Chosen, Shown, ask
from tests.simulated.node import WALL_US
from tests.simulated.rack import AWKWARD_JOB, END_US, JOB, SECOND_JOB, Rack

ROOT = Path(__file__).parents[3]
GRAFANA = ROOT / "deploy/grafana"
NAMES = ("cluster", "node", "gpu", "job")
Dashboard = dict[str, Any]
Row = dict[str, Any]

ALL = Chosen(whole=".*")
BEGIN_MS, END_MS = WALL_US // 1000, END_US // 1000
# The hour, and a part of it that begins and ends with a Report of every node, the gap in it.
HOUR, PART = (BEGIN_MS, END_MS), (BEGIN_MS + 700_000, END_MS - 300_000)
JOBS = (JOB, SECOND_JOB, AWKWARD_JOB)


def chosen_job(job: str) -> dict[str, Chosen]:
    """Choose a job, as its two variables have it."""
    return {"job": Chosen((f"job:{job}",)), "workload": Chosen((job,))}


def read(name: str) -> Dashboard:
    """Read a committed dashboard."""
    loaded: Dashboard = json.loads((GRAFANA / f"dashboards/{name}.json").read_text())
    return loaded


def panels_of(name: str) -> list[dict[str, Any]]:
    """Return a dashboard's panels that show something."""
    return [panel for panel in read(name)["panels"] if panel["type"] != "row"]


@dataclass(frozen=True, slots=True)
class Site:
    """A database with the hour in it."""

    server: InfluxServer
    store: InfluxStore
    rack: Rack

    def ask(self, panel: Mapping[str, Any], target: Mapping[str, Any], shown: Shown) -> list[Series]:
        """Ask a panel's question as Grafana does."""
        return ask(self.server, shown.question(target["query"], panel.get("interval", "1s")))

    def rows(self, dashboard: str, title: str, shown: Shown, target: int = 0) -> list[Row]:
        """Return what a panel's question finds, by column and tag."""
        (panel,) = [p for p in panels_of(dashboard) if p["title"] == title and "$__interval" not in str(p)]
        found = self.ask(panel, panel["targets"][target], shown)
        return [series.tags | row for series in found for row in series.rows()]

    def total(self, dashboard: str, title: str, shown: Shown) -> Any:
        """Return the figure of a panel that has one."""
        (row,) = self.rows(dashboard, title, shown)
        del row["time"]
        (value,) = row.values()
        return value

    def accounts(self, span: tuple[int, int], node: str | None = None) -> list[AccountRow]:
        """Return the ledger's rows of a range, ends included as in Grafana's."""
        return self.store.accounts(Range(span[0] * 1000 - 1, span[1] * 1000, node))


def books(site: Site, span: tuple[int, int], node: str | None = None) -> dict[str, int]:
    """Return what the ledger says of each account."""
    ledger = get_ledger(site.store, node=node, from_us=span[0] * 1000 - 1, to_us=span[1] * 1000)
    assert ledger.residual_uj == 0
    return {account.account: account.energy_uj for account in ledger.accounts}
