"""What Prometheus reads, in its text format 0.0.4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from joulebook.collector.alerts.alert import STATES, AlertBook, State
from joulebook.collector.alerts.stats import DeliveryStats
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.queries.times import MAX_UNIX_US
from joulebook.collector.schedulers.stats import AllStats, SchedulerStats
from joulebook.collector.store.protocol import Range, Store
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import gauge_name, total_name

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_AUDIT_US = 300_000_000
_ALWAYS = Range(-MAX_UNIX_US, 2 * MAX_UNIX_US)
Labels = Mapping[str, str]


@dataclass(slots=True)
class Family:
    """One metric: its name, kind and meaning, and samples as (labels, value in text)."""

    name: str
    kind: str
    help: str
    samples: list[tuple[Labels, str]] = field(default_factory=list)


def exposition(
    store: Store,
    stats: IngestStats,
    alerts: AlertBook,
    delivery: DeliveryStats,
    schedulers: AllStats,
    now_us: int,
) -> str:
    """Return everything that the collector counts."""
    families = [
        *_books(store, now_us),
        *_nodes(store),
        *_ingest(stats),
        *_alerts(alerts),
        *_delivery(delivery),
        *_schedulers(schedulers),
        _build(),
    ]
    return "".join(line + "\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.help)}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in family.samples:
        shown = ",".join(f'{name}="{_escaped(text, quote=True)}"' for name, text in labels.items())
        yield f"{family.name}{{{shown}}} {value}" if shown else f"{family.name} {value}"


def _escaped(text: str, *, quote: bool = False) -> str:
    # Nearly no name has any of these, and there are tens of thousands of them.
    if "\\" in text or "\n" in text:
        text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quote and '"' in text else text


def _millionths(value: int) -> str:
    """Return µJ as joules, or µs as seconds, with nothing rounded."""
    return f"{'-' if value < 0 else ''}{abs(value) // 1_000_000}.{abs(value) % 1_000_000:06d}"


def _books(store: Store, now_us: int) -> Iterable[Family]:
    booked = Family(
        total_name("account", "energy", "uJ"), "counter", "Energy booked to a class of accounts on a node."
    )
    # All jobs are one class: a label for each would never stop growing.
    booked.samples = [
        ({"node": node, "account": account}, _millionths(uj)) for node, account, uj in store.energy_by_node()
    ]
    ledger = get_ledger(store, node=None, from_us=now_us - _AUDIT_US, to_us=now_us)
    residual = Family(
        gauge_name("ledger", "residual", "uJ"),
        "gauge",
        "Energy that the meters delivered in the last five minutes less what the accounts received; 0 while "
        "the books balance.",
        [({}, _millionths(ledger.residual_uj))],
    )
    return booked, residual


def _nodes(store: Store) -> Iterable[Family]:
    last = Family(
        gauge_name("node", "last_report_timestamp", "us"),
        "gauge",
        "End of the node's newest Report, unix time.",
    )
    working = Family(
        gauge_name("source", "working", "1"), "gauge", "Whether a source of readings on a node is working."
    )
    for row in store.nodes():
        last.samples.append(({"node": row.node}, _millionths(row.last_unix_us)))
        for source, (state, _, _) in sorted(row.sources.items()):
            works = state == report_pb2.SOURCE_STATE_WORKING
            working.samples.append(({"node": row.node, "source": source}, str(int(works))))
    return last, working


def _ingest(stats: IngestStats) -> Iterable[Family]:
    def counter(thing: str, unit: str, value: int, help_: str) -> Family:
        text = str(value) if unit == "1" else _millionths(value)
        return Family(total_name("ingest", thing, unit), "counter", help_, [({}, text)])

    refused = Family(total_name("ingest", "refused_reports", "1"), "counter", "Reports refused, by status.")
    refused.samples = [({"code": code}, str(count)) for code, count in sorted(stats.refused.copy().items())]
    return (
        counter("reports", "1", stats.reports, "Reports booked."),
        counter("duplicate_reports", "1", stats.duplicates, "Reports that had been booked before."),
        refused,
        counter("samples", "1", stats.samples, "Readings stored."),
        counter("booked", "uJ", stats.booked_uj, "Energy booked."),
        counter("residual", "uJ", stats.residual_uj, "Differences found when booking; any is a fault."),
        counter("commits", "1", stats.commits, "Transactions written."),
        counter("failed_commits", "1", stats.failed_commits, "Transactions that the store did not take."),
        counter("refused_lines", "1", stats.refused_lines, "Lines that a database refused."),
        counter("commit", "us", stats.commit_us, "Time spent booking and writing."),
        Family(
            gauge_name("ingest", "streams", "1"), "gauge", "Agents streaming now.", [({}, str(stats.streams))]
        ),
    )


def _alerts(book: AlertBook) -> Iterable[Family]:
    # Those of rules in force are told at 0 too, so that nothing is missing before the first.
    counts = {(rule.name, state): 0 for rule in book.rules() for state in STATES}
    wasted_uj = {rule.name: 0 for rule in book.rules()}
    for alert in book.alerts():
        counts[alert.rule, alert.state] = counts.get((alert.rule, alert.state), 0) + 1
        if alert.state is State.FIRING:
            wasted_uj[alert.rule] = wasted_uj.get(alert.rule, 0) + (alert.wasted_uj or 0)
    kept = Family(
        gauge_name("alerts", "", "1"), "gauge", "Alerts by rule and state; of the resolved, those still kept."
    )
    kept.samples = [
        ({"rule": rule, "state": state}, str(count)) for (rule, state), count in sorted(counts.items())
    ]
    wasted = Family(
        gauge_name("firing_alerts", "wasted", "uJ"),
        "gauge",
        "Energy wasted so far under the alerts that fire now.",
        [({"rule": rule}, _millionths(uj)) for rule, uj in sorted(wasted_uj.items())],
    )
    return kept, wasted


def _delivery(stats: DeliveryStats) -> Iterable[Family]:
    def counter(thing: str, counts: Mapping[str, int], help_: str) -> Family:
        family = Family(total_name("alertmanager", thing, "1"), "counter", help_)
        family.samples = [({"alertmanager": url}, str(count)) for url, count in sorted(counts.items())]
        return family

    return (
        counter("sent_notifications", dict(stats.sent), "Alerts that an Alertmanager took, each sending."),
        counter("failed_notifications", dict(stats.failed), "Alerts that it did not take; sent again."),
    )


def _schedulers(stats: AllStats) -> Iterable[Family]:
    # Nothing is told of whom nobody asks.
    asked = [one for one in (stats.slurm, stats.kubernetes) if one.working is not None or one.failures]
    if not asked:
        return

    def told(count: Callable[[SchedulerStats], int]) -> list[tuple[Mapping[str, str], str]]:
        return [({"scheduler": one.scheduler}, str(count(one))) for one in asked]

    yield Family(
        gauge_name("scheduler", "working", "1"),
        "gauge",
        "Whether a scheduler answered when it was asked about jobs last.",
        told(lambda one: int(one.working or False)),
    )
    for thing, count, help_ in (
        ("questions", lambda one: one.questions, "Times that a scheduler was asked about jobs."),
        (
            "failed_questions",
            lambda one: one.failures,
            "Times that it did not answer, or with what it never says.",
        ),
        ("told_jobs", lambda one: one.told_jobs, "Jobs of which it told."),
    ):
        name = total_name("scheduler", thing, "1")
        yield Family(name, "counter", help_, told(count))


def _build() -> Family:
    labels = {"version": version("joulebook")}
    return Family(gauge_name("build", "info", "1"), "gauge", "The collector's version.", [(labels, "1")])
