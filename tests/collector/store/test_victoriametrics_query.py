"""What the page says of dashboards that ask VictoriaMetrics by themselves is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from joulebook.collector.store.opened import open_store
from joulebook.collector.store.victoriametrics.store import VictoriaStore
from tests.collector.store.histories import reports_of
from tests.servers.victoriametrics import RunningVictoria
from tests.simulated.cluster import Cluster
from tests.simulated.delivery import EVER, deliver

_PAGE = Path(__file__).parents[3] / "docs" / "victoriametrics.md"


def test_the_question_of_the_page(victoria: RunningVictoria, tmp_path: Path, truth: Cluster) -> None:
    """Its MetricsQL gives what each account received, live: all but the gaps, which have no row there."""
    (question,) = re.findall(r"^sum\(.*$", _PAGE.read_text(), re.MULTILINE)
    store = open_store(victoria.address, facts=str(tmp_path / "facts"))
    assert isinstance(store, VictoriaStore)
    deliver(store, reports_of(truth))
    victoria.flush()
    at_s = truth.now_us // 1_000_000 + 1
    asked = urlencode({"query": question.replace("…", store._facts.books), "time": at_s, "nocache": 1})
    with urlopen(f"{victoria.address.replace('victoriametrics', 'http')}/api/v1/query?{asked}") as answer:
        found = json.load(answer)["data"]["result"]
    joules = {one["metric"]["account"]: float(one["value"][1]) for one in found}
    booked: dict[str, int] = {}
    for row in store.accounts(EVER):
        booked[row.account] = booked.get(row.account, 0) + sum(row.active_uj) + sum(row.idle_uj)
    del booked["unattributed"]
    assert {account: round(energy * 1e6) for account, energy in joules.items()} == booked
    store.close()
