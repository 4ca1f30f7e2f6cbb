"""The catalogue is the one place where a metric gets its name, and names do not change by accident."""

import re
from pathlib import Path

from joulebook.v1.catalogue import base_unit, by_name, catalogue, gauge_name, total_name
from joulebook.v1.reference import render

REPOSITORY = Path(__file__).parents[2]
_SUFFIX = {
    "uJ": "_uj",
    "mW": "_mw",
    "us": "_us",
    "By": "_bytes",
    "By/s": "_bytes_per_s",
    "kHz": "_khz",
    "mC": "_mc",
    "ppm": "_ppm",
    "1": "",
}


def test_every_metric_is_whole_and_its_name_ends_in_its_unit() -> None:
    """Each entry has a unique name in the field's form, a known unit, a subject and one sentence."""
    assert len(by_name()) == len(catalogue())
    for entry in catalogue().values():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", entry.name), entry
        assert entry.name.endswith(_SUFFIX[entry.unit]), entry
        assert entry.subject in ("node", "domain", "device", "workload", "workload_domain"), entry
        assert entry.help.endswith(".")
        assert entry.help.count(". ") == 0
        base_unit(entry.unit)


def test_prometheus_names_are_built_in_one_place() -> None:
    """Counters end in their base unit and _total, gauges in their base unit."""
    assert total_name("node", "energy", "uJ") == "joulebook_node_energy_joules_total"
    assert gauge_name("domain", "idle_power", "mW") == "joulebook_domain_idle_power_watts"
    assert total_name("device", "reads", "1") == "joulebook_device_reads_total"


def test_the_metrics_reference_is_what_the_catalogue_says() -> None:
    """docs/metrics.md is the golden list: a rename shows there as a change."""
    assert (REPOSITORY / "docs/metrics.md").read_text() == render(), "run make stubs"
