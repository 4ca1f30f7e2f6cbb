"""The metric catalogue, read from the contract's own descriptors."""

from dataclasses import dataclass
from functools import cache

from joulebook.v1 import metrics_pb2 as pb


@dataclass(frozen=True, slots=True)
class MetricEntry:
    """One metric: its number on the wire, its field name, sub-unit, kind and subject.

    subject is node, domain, device, workload, or workload_domain: of both at once.
    """

    number: int
    name: str
    unit: str
    is_counter: bool
    subject: str
    thing: str
    help: str

    @property
    def subjects(self) -> tuple[str, ...]:
        """Return what a series of it names: one subject or two, none where it is the node's."""
        return () if self.subject == "node" else tuple(self.subject.split("_"))


@cache
def catalogue() -> dict[int, MetricEntry]:
    """Return every metric by its number."""
    entries = {}
    for number, value in pb.Metric.DESCRIPTOR.values_by_number.items():
        if number == pb.METRIC_UNSPECIFIED:
            continue
        info = value.GetOptions().Extensions[pb.info]
        subject = pb.MetricSubject.Name(info.subject).removeprefix("METRIC_SUBJECT_").lower()
        entries[number] = MetricEntry(
            number=number,
            name=info.name,
            unit=info.unit,
            is_counter=info.kind == pb.METRIC_KIND_COUNTER,
            subject=subject,
            thing=info.thing,
            help=info.help,
        )
    return entries


@cache
def by_name() -> dict[str, MetricEntry]:
    """Return every metric by its field name."""
    return {entry.name: entry for entry in catalogue().values()}


_BASE_UNITS = {
    "uJ": ("joules", 1e-6),
    "mW": ("watts", 1e-3),
    "us": ("seconds", 1e-6),
    "By": ("bytes", 1.0),
    "By/s": ("bytes_per_second", 1.0),
    "kHz": ("hertz", 1e3),
    "mC": ("celsius", 1e-3),
    "ppm": ("ratio", 1e-6),
    "1": ("", 1.0),
}


def base_unit(unit: str) -> tuple[str, float]:
    """Return the base unit that people read and the factor from the catalogue's sub-unit."""
    return _BASE_UNITS[unit]


def total_name(level: str, thing: str, unit: str) -> str:
    """Build a counter's Prometheus name: joulebook_<level>_<thing>_<base unit>_total."""
    return "_".join(part for part in ("joulebook", level, thing, base_unit(unit)[0], "total") if part)


def gauge_name(level: str, thing: str, unit: str) -> str:
    """Build a gauge's Prometheus name: joulebook_<level>_<thing>_<base unit>."""
    return "_".join(part for part in ("joulebook", level, thing, base_unit(unit)[0]) if part)
