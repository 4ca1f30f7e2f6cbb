"""What Prometheus reads keeps to its format and its naming rules."""

import re
from urllib.request import urlopen

from joulebook.collector.api.exposition import exposition
from joulebook.collector.ingest.stats import IngestStats
from tests.simulated.cluster import cluster

_SAMPLE = re.compile(
    r'([a-z_]+)(\{([a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*)\})? (-?[0-9.]+)'
)
_UNITS = ("joules", "seconds", "reports", "samples", "commits", "streams", "info", "working")


def _samples(text: str) -> dict[str, str]:
    """Return samples by name and labels, having checked that every line has its place."""
    found: dict[str, str] = {}
    family = kind = ""
    seen = set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in seen
            assert len(line.split(" ")) > 4
            assert line.endswith(".")
            seen.add(family)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family
            assert family.endswith("_total") == (kind == "counter")
            assert family.removesuffix("_total").endswith(_UNITS)
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert sample[1] == family
            assert kind == "gauge" or not sample[4].startswith("-")
            key = f"{sample[1]}{sample[2] or ''}"
            assert key not in found
            found[key] = sample[4]
    return found


def test_format_and_names(url: str) -> None:
    """A running collector's metrics have HELP and TYPE, base units and _total, and no sample twice."""
    with urlopen(f"{url}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        samples = _samples(answer.read().decode())
    assert samples["joulebook_ledger_residual_joules"] == "0.000000"
    assert samples['joulebook_source_working{node="n2",source="rapl"}'] == "0"


def test_energy_of_accounts_is_exact() -> None:
    """Energy by class of accounts adds up to what the meters delivered, to the µJ."""
    books = cluster()
    samples = _samples(exposition(books.store, IngestStats(), books.now_us))
    books.store.close()
    energy = {k: v for k, v in samples.items() if k.startswith("joulebook_account_energy_joules_total")}
    assert sum(int(value.replace(".", "")) for value in energy.values()) == books.measured_uj
    accounts = {key.partition('account="')[2].removesuffix('"}') for key in energy}
    assert accounts == {"job", "system", "idle", "unattributed"}


def test_broken_books_show() -> None:
    """A residual of a µJ is told as one, whatever its sign."""
    broken = cluster()
    broken.store._connection.execute(
        "UPDATE ledger SET cpu_idle_uj = cpu_idle_uj + 1 WHERE rowid = "
        "(SELECT max(rowid) FROM ledger WHERE cpu_idle_uj > 0)"
    )
    samples = _samples(exposition(broken.store, IngestStats(), broken.now_us))
    broken.store.close()
    assert samples["joulebook_ledger_residual_joules"] == "-0.000001"


def test_labels_are_escaped() -> None:
    """Text from elsewhere cannot end its label early."""
    books = cluster()
    books.store._connection.execute("""UPDATE source_states SET name = 'a"b\\c' || chr(10) || 'd'""")
    samples = _samples(exposition(books.store, IngestStats(), books.now_us))
    books.store.close()
    assert 'joulebook_source_working{node="n2",source="a\\"b\\\\c\\nd"}' in samples
