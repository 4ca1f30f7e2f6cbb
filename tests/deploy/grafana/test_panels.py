"""Every panel's every question, asked of a real InfluxDB."""

from __future__ import annotations

import pytest

from tests.deploy.grafana.site import (
    ALL,
    HOUR,
    JOBS,
    NAMES,
    PART,
    Site,
    books,
    chosen_job,
    panels_of,
    read,
)
from tests.servers.grafana import Chosen, Shown, ask, interval_ms, options
from tests.simulated.rack import AWKWARD_JOB, GPUS, JOB, NODES

# What may be chosen so that every panel has something to show.
CHOICES: dict[str, list[dict[str, Chosen]]] = {
    "cluster": [{"node": ALL}, {"node": Chosen(NODES)}, {"node": Chosen(("n1", "n2"))}],
    "node": [{"node": Chosen(("n1",))}],
    "gpu": [
        {"node": ALL, "gpu": ALL},
        {"node": Chosen(("n1",)), "gpu": Chosen(("gpu.0", "gpu.1"))},
        {"node": Chosen(("n2",)), "gpu": Chosen(("gpu.0",))},
    ],
    "job": [chosen_job(JOB)],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("span", [HOUR, PART], ids=["hour", "part"])
def test_every_panel_has_data(site: Site, name: str, span: tuple[int, int]) -> None:
    """The server answers every question of every panel, each with at least one value, whatever is chosen."""
    for choice in CHOICES[name]:
        shown = Shown(*span, choice)
        for panel in panels_of(name):
            for target in panel["targets"]:
                found = site.ask(panel, target, shown)
                values = [value for series in found for row in series.values for value in row[1:]]
                known = [value for value in values if value is not None]
                assert known, f"{name}: {panel['title']}: {shown.question(target['query'])}"


@pytest.mark.parametrize("name", NAMES)
def test_variables_find_what_is_there(site: Site, name: str) -> None:
    """Each variable's question finds the names that it is for, within what is chosen of those before it."""
    expected = {
        ("cluster", "node"): list(NODES),
        ("node", "node"): list(NODES),
        ("gpu", "node"): [node for node in NODES if GPUS[node]],
        ("gpu", "gpu"): ["gpu.0"],
        ("job", "job"): [f"job:{job}" for job in JOBS],
        ("job", "workload"): [AWKWARD_JOB],
    }
    chosen = {"node": Chosen(("n2",))} | chosen_job(AWKWARD_JOB)
    for variable in read(name)["templating"]["list"]:
        (found,) = site.server.query(Shown(*HOUR, chosen).question(variable["query"]))
        names = [row["value"] for series in found for row in series.rows()]
        pairs = options(names, variable.get("regex", ""))
        assert sorted(value for _, value in pairs) == sorted(expected[name, variable["name"]])
        if variable["name"] == "job":
            assert sorted(text for text, _ in pairs) == sorted(JOBS)


@pytest.mark.parametrize("minutes", [1, 2, 5, 15])
def test_power_over_time_adds_up_to_the_books(site: Site, minutes: int) -> None:
    """Whatever the interval, power is what was booked, without a gap's; steady power is level."""
    panel = next(p for p in panels_of("node") if p["title"] == "Power by account")
    accounts = {node: books(site, HOUR, node) for node in NODES}
    for node in NODES:
        shown = Shown(*HOUR, {"node": Chosen((node,))})
        query = panel["targets"][0]["query"].replace("$__interval_ms", str(minutes * 60_000))
        found = ask(site.server, shown.question(query.replace("$__interval", f"{minutes}m")))
        joules = {s.tags["account"]: sum(value for _, value in s.values) * minutes * 60 for s in found}
        if node == "n1":
            accounts[node]["unattributed"] -= site.rack.lost_uj
        expected = {account: uj / 1e6 for account, uj in accounts[node].items()}
        assert joules == pytest.approx(expected)
        if node == "n3":
            steady = [value for s in found if s.tags["account"] == "idle" for _, value in s.values][1:-1]
            assert steady == pytest.approx([steady[0]] * len(steady)), minutes


def test_no_interval_is_shorter_than_a_report() -> None:
    """Where the ledger is asked over time, a bucket holds at least six Reports; elsewhere, ten readings."""
    for name in NAMES:
        for panel in panels_of(name):
            over_time = [t["query"] for t in panel["targets"] if "$__interval" in t["query"]]
            if any('"ledger"' in query or '"report"' in query for query in over_time):
                assert interval_ms(60_000, panel["interval"]) >= 60_000, panel["title"]
            elif over_time and panel["type"] == "timeseries":
                assert interval_ms(60_000, panel["interval"]) >= 10_000, panel["title"]
