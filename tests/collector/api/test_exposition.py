"""What Prometheus reads keeps to its format and its naming rules."""

import re
from urllib.request import urlopen

from joulebook.collector.alerts.alert import AlertBook
from joulebook.collector.alerts.stats import DeliveryStats
from joulebook.collector.api.exposition import exposition
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.schedulers.stats import AllStats, SchedulerStats
from tests.simulated.alerts import MadeUpBook, firing, pending, resolved
from tests.simulated.cluster import Cluster, cluster

_SAMPLE = re.compile(
    r'([a-z_]+)(\{([a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*)\})? (-?[0-9.]+)'
)
_UNITS = (
    "joules",
    "seconds",
    "reports",
    "samples",
    "commits",
    "lines",
    "streams",
    "info",
    "working",
    "alerts",
    "notifications",
    "watts",
    "hertz",
    "celsius",
    "ratio",
    "bytes",
    "nodes",
    "questions",
    "jobs",
)


def samples_of(text: str) -> dict[str, str]:
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


def _exposition(books: Cluster, alerts: AlertBook | None = None) -> str:
    book = alerts or MadeUpBook()
    return exposition(books.store, IngestStats(), book, DeliveryStats(), AllStats(), books.now_us)


def test_format_and_names(url: str) -> None:
    """A running collector's metrics have HELP and TYPE, base units and _total, and no sample twice."""
    with urlopen(f"{url}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        samples = samples_of(answer.read().decode())
    assert samples["joulebook_ledger_residual_joules"] == "0.000000"
    assert samples['joulebook_source_working{node="n2",source="rapl"}'] == "0"


def test_energy_of_accounts_is_exact() -> None:
    """Energy by class of accounts adds up to what the meters delivered, to the µJ."""
    books = cluster()
    samples = samples_of(_exposition(books))
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
    samples = samples_of(_exposition(broken))
    broken.store.close()
    assert samples["joulebook_ledger_residual_joules"] == "-0.000001"


def test_labels_are_escaped() -> None:
    """Text from elsewhere cannot end its label early."""
    books = cluster()
    books.store._connection.execute("""UPDATE source_states SET name = 'a"b\\c' || chr(10) || 'd'""")
    samples = samples_of(_exposition(books))
    books.store.close()
    assert 'joulebook_source_working{node="n2",source="a\\"b\\\\c\\nd"}' in samples


def test_alerts() -> None:
    """Alerts are counted by rule and state, also where there are none; waste is that of what fires now."""
    books = cluster()
    one = {"node": "n1"}
    book = MadeUpBook([firing(one), firing({"node": "n2"}), pending(one, "cpu_held_idle")])
    book.held.append(resolved(firing(one, "old_rule", minutes=90), minutes_ago=60))
    samples = samples_of(_exposition(books, book))
    books.store.close()
    assert samples['joulebook_alerts{rule="gpu_held_idle",state="firing"}'] == "2"
    assert samples['joulebook_alerts{rule="cpu_held_idle",state="pending"}'] == "1"
    assert samples['joulebook_alerts{rule="agent_silent",state="firing"}'] == "0"
    assert samples['joulebook_alerts{rule="old_rule",state="resolved"}'] == "1"
    assert samples['joulebook_firing_alerts_wasted_joules{rule="gpu_held_idle"}'] == "146400.000040"
    assert samples['joulebook_firing_alerts_wasted_joules{rule="cpu_held_idle"}'] == "0.000000"


def test_a_scheduler() -> None:
    """Whether it answers is told once it was asked; of whom nobody asks nothing is."""
    books = cluster()
    assert "scheduler" not in _exposition(books)
    pods = SchedulerStats("kubernetes", working=True, questions=1)
    stats = AllStats(SchedulerStats(working=False, questions=3, failures=2, told_jobs=9), pods)
    samples = samples_of(
        exposition(books.store, IngestStats(), MadeUpBook(), DeliveryStats(), stats, books.now_us)
    )
    books.store.close()
    told = {key: value for key, value in samples.items() if "scheduler" in key}
    assert told == {
        'joulebook_scheduler_working{scheduler="slurm"}': "0",
        'joulebook_scheduler_questions_total{scheduler="slurm"}': "3",
        'joulebook_scheduler_failed_questions_total{scheduler="slurm"}': "2",
        'joulebook_scheduler_told_jobs_total{scheduler="slurm"}': "9",
        'joulebook_scheduler_working{scheduler="kubernetes"}': "1",
        'joulebook_scheduler_questions_total{scheduler="kubernetes"}': "1",
        'joulebook_scheduler_failed_questions_total{scheduler="kubernetes"}': "0",
        'joulebook_scheduler_told_jobs_total{scheduler="kubernetes"}': "0",
    }


def test_notifications() -> None:
    """What each Alertmanager took and did not take is counted by its address."""
    books = cluster()
    url = "http://127.0.0.1:9093"
    delivery = DeliveryStats({url: 7}, {url: 2})
    samples = samples_of(
        exposition(books.store, IngestStats(), MadeUpBook(), delivery, AllStats(), books.now_us)
    )
    books.store.close()
    assert samples[f'joulebook_alertmanager_sent_notifications_total{{alertmanager="{url}"}}'] == "7"
    assert samples[f'joulebook_alertmanager_failed_notifications_total{{alertmanager="{url}"}}'] == "2"
