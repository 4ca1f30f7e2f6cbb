"""The committed dashboards are sound, ask only for what is stored, and are what the generator gives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from deploy.grafana.generator.fields import level, metric, rate
from joulebook.collector.store.influxdb_ledger import DASHBOARD, SUMS
from joulebook.collector.store.influxdb_marks import FIELDS
from joulebook.v1.catalogue import catalogue
from tests.deploy.grafana.site import ALL, GRAFANA, NAMES, ROOT, Dashboard, panels_of, read
from tests.servers.grafana import Chosen, Shown, escape, interval_ms
from tests.simulated.rack import AWKWARD_JOB


def test_only_fields_that_are_stored_are_asked_for() -> None:
    """Every quoted name in a question is a field of the catalogue or the store, a tag, or a measurement."""
    fields = {entry.name for entry in catalogue().values()} | {*SUMS, *DASHBOARD, "interval_us"}
    fields |= set(re.findall(r'"(\w+)"', FIELDS)) | {"state", "reason", "fix", "name", "user", "source"}
    fields.add("revised_unix_us")
    tags = {"node", "domain", "device", "workload", "account", "user", "gap", "job"}
    measurements = {*tags, "workload_domain", "ledger", "report", "names", "source", "revision"}
    for name in NAMES:
        for panel in panels_of(name):
            for target in panel["targets"]:
                named = set(re.findall(r'AS "([^"]+)"', target["query"]))
                asked = set(re.findall(r'"([^"]+)"', target["query"]))
                assert asked - named <= fields | tags | measurements, panel["title"]


def test_questions_stay_clear_of_what_servers_differ_in() -> None:
    """No fill but none within a sub-query, which InfluxDB 1.6 answers wrongly, and nothing of a dialect."""
    for name in NAMES:
        for panel in panels_of(name):
            for query in (target["query"] for target in panel["targets"]):
                for inner in re.findall(r"FROM \((.*)\)", query):
                    assert re.findall(r"fill\((\w+)\)", inner) == ["none"]
                assert not re.search(r"SLIMIT|INTO|holt_winters|tz\(", query)
                assert query.count("$timeFilter") or '"names".' in query


def test_a_metric_that_is_not_there_stops_the_generator() -> None:
    """A renamed metric, or a counter taken for a gauge, is an error when dashboards are made."""
    with pytest.raises(LookupError, match=r"metric 'energy_j': expected a name of the metric catalogue"):
        metric("energy_j")
    with pytest.raises(LookupError, match="'energy_uj' is a counter; expected a gauge"):
        level("energy_uj")
    with pytest.raises(LookupError, match="'memory_bytes' is a gauge; expected a counter"):
        rate("memory_bytes")


def test_committed_dashboards_are_what_the_generator_gives(tmp_path: Path) -> None:
    """`make dashboards` would change nothing."""
    subprocess.run([sys.executable, "-m", "deploy.grafana.generator", str(tmp_path)], cwd=ROOT, check=True)
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(f"{name}.json" for name in NAMES)
    for made in tmp_path.iterdir():
        assert made.read_text() == (GRAFANA / "dashboards" / made.name).read_text()


def test_dashboards_are_sound() -> None:
    """Names and ids are unique, panels say what they show and do not overlap, links lead somewhere."""
    loaded = {name: read(name) for name in NAMES}
    assert {d["uid"] for d in loaded.values()} == {f"joulebook-{name}" for name in NAMES}
    assert len({d["title"] for d in loaded.values()}) == len(NAMES)
    for name, dashboard in loaded.items():
        assert "joulebook" in dashboard["tags"]
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
            assert not cells & taken, f"{name}: {panel['title']}"
            taken |= cells
            if panel["type"] != "row":
                assert panel["title"]
                assert len(panel["description"]) > 10
                refs = [target["refId"] for target in panel["targets"]]
                assert len(set(refs)) == len(refs)
                assert {t["datasource"]["uid"] for t in panel["targets"]} == {"joulebook"}
        titles = [panel["title"] for panel in panels_of(name) if "$__interval" not in str(panel["targets"])]
        assert len(set(titles)) == len(titles)
        _check_links(dashboard, loaded)


def test_lines_are_named_by_what_tells_them_apart() -> None:
    """An alias takes tags that its question groups by, all of them but none other; or the column's name."""
    for name in NAMES:
        for panel in panels_of(name):
            for target in panel["targets"]:
                if target["resultFormat"] == "table" or panel["type"] == "stat":
                    continue
                groups = target["query"].rpartition("GROUP BY")[2] if "GROUP BY" in target["query"] else ""
                tags = re.findall(r'"(\w+)"', groups)
                used = re.findall(r"\$tag_(\w+)", target["alias"])
                # A page of one node has no need of its name.
                one = {"node"} if name == "node" else set()
                assert set(tags) - one == set(used) - one, panel["title"]
                assert target["alias"], panel["title"]
                if "$col" in target["alias"]:
                    assert ' AS "' in target["query"], panel["title"]


def test_units_are_grafanas() -> None:
    """Every unit is one of Grafana's, or a suffix, or a scaled one of one's own."""
    known = {"kwatth", "watt", "percentunit", "bytes", "Bps", "celsius", "none", "µs", "dateTimeAsIso"}
    for name in NAMES:
        for panel in panels_of(name):
            config = panel["fieldConfig"]
            units = {config["defaults"].get("unit", "none")} | {
                prop["value"]
                for override in config["overrides"]
                for prop in override["properties"]
                if prop["id"] == "unit"
            }
            assert units <= known | {"si:µJ", "suffix: CPUs"}, panel["title"]


def _check_links(dashboard: Dashboard, loaded: Mapping[str, Dashboard]) -> None:
    for title, there, variables in re.findall(
        r'"url": "/d/joulebook-(\w+)/(\w+)\?([^"]*)"', json.dumps(dashboard)
    ):
        assert title == there
        names = {variable["name"] for variable in loaded[there]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", variables)) <= names
        assert variables.endswith("&${__url_time_range}")


def test_provisioning_names_what_is_there() -> None:
    """Grafana is told of the dashboards' data source, and of the directory that they are copied to."""
    kinds = ("datasources", "dashboards")
    files = {kind: f"deploy/grafana/provisioning/{kind}/joulebook.yaml" for kind in kinds}
    (source,) = yaml.safe_load((ROOT / files["datasources"]).read_text())["datasources"]
    assert (source["type"], source["uid"], source["jsonData"]["version"]) == (
        "influxdb",
        "joulebook",
        "InfluxQL",
    )
    (provider,) = yaml.safe_load((ROOT / files["dashboards"]).read_text())["providers"]
    page = (ROOT / "docs/grafana.md").read_text()
    assert f"deploy/grafana/dashboards/*.json {provider['options']['path']}" in page
    for kind, file in files.items():
        assert f"{file} /etc/grafana/provisioning/{kind}" in page
    for variable in re.findall(r"\$\{(\w+)\}", json.dumps(source)):
        assert f"{variable}=" in page


@pytest.mark.parametrize(
    ("chosen", "written"),
    [
        (Chosen(("n1",)), "n1"),
        (Chosen(("n1", "n.2")), r"(n1|n\.2)"),
        (Chosen((AWKWARD_JOB,)), r"run\.a\+b\(c\)\/d"),
        (ALL, ".*"),
    ],
)
def test_variables_are_written_as_grafana_does(chosen: Chosen, written: str) -> None:
    """One value is escaped, several are (a|b), All is its own value; in each form of naming a variable."""
    for form in ("$node", "[[node]]", "${node}", "${node:regex}", "[[node:regex]]"):
        assert Shown(0, 1, {"node": chosen}).question(f"=~ /^{form}$/") == f"=~ /^{written}$/"


def test_macros_are_written_as_grafana_does() -> None:
    """The time's condition has both ends; a longer macro is not taken for a shorter one."""
    shown = Shown(5, 3_600_005, {})
    asked = shown.question("$timeFilter time($__interval) $__interval_ms $interval", "1m")
    assert asked == "time >= 5ms and time <= 3600005ms time(1m) 60000 1m"
    assert [interval_ms(hours * 3_600_000, "10s") for hours in (1, 6, 24, 24 * 7)] == [
        10_000,
        20_000,
        60_000,
        600_000,
    ]
    assert escape("a/b") == r"a\/b"
