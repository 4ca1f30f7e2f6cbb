"""What is asked of each field, from the metric catalogue: no panel can ask for a metric that is not there."""

from __future__ import annotations

from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.figures import ENERGIES, FIGURES
from joulebook.collector.store.influxdb_ledger import DASHBOARD
from joulebook.v1.catalogue import MetricEntry, by_name

# Counters are stored as what was counted in an interval, so their sum over a bucket is what happened in it.
# The catalogue's sub-unit, and what makes of a bucket's sum an amount a second (of µs: a share of the time).
_A_SECOND = {"uJ": "/ 1000 /", "us": "/ 1000 /", "By": "* 1000 /", "1": "* 1000 /"}
_BASE = {
    "mW": " / 1000",
    "ppm": " / 1000000",
    "mC": " / 1000",
    "By": "",
    "By/s": "",
    "kHz": " * 1000",
    "1": "",
}
_ENERGY, _IDLE = DASHBOARD
_MODELLED = FIGURES[FIGURES.index("modelled_uj")]


def metric(name: str) -> MetricEntry:
    """Return a metric of the catalogue. Raises LookupError for one that is not there."""
    if name not in by_name():
        raise LookupError(f"metric {name!r}: expected a name of the metric catalogue (docs/metrics.md)")
    return by_name()[name]


def rate(name: str) -> str:
    """Return what a counter counted a second, over a bucket: watts of µJ, a share of the time of µs."""
    entry = metric(name)
    if not entry.is_counter:
        raise LookupError(f"metric {name!r} is a gauge; expected a counter")
    return f'sum("{entry.name}") {_A_SECOND[entry.unit]} $__interval_ms'


def level(name: str) -> str:
    """Return a gauge's mean over a bucket, in its base unit."""
    entry = metric(name)
    if entry.is_counter:
        raise LookupError(f"metric {name!r} is a counter; expected a gauge")
    return f'mean("{entry.name}"){_BASE[entry.unit]}'


def total(name: str) -> str:
    """Return what a counter counted, exactly."""
    return f'sum("{metric(name).name}")'


def said(*names: str) -> str:
    """Return what the catalogue says of metrics, for a panel's description."""
    return "\n\n".join(f"`{metric(name).name}`: {metric(name).help}" for name in names)


# Of the ledger, in µJ, exactly.
ENERGY_UJ = f'sum("{_ENERGY}")'
IDLE_UJ = f'sum("{_IDLE}")'
ACTIVE_UJ = f"{ENERGY_UJ} - {IDLE_UJ}"
MODELLED = f'sum("{_MODELLED}") / {ENERGY_UJ}'
KWH = f"{ENERGY_UJ} / 3600000000000"
# Never null where there is power at all: a class of 0 has no field, but the whole has.
POWER_W = f"{ENERGY_UJ} / 1000 / $__interval_ms"
IDLE_POWER_W = f"{IDLE_UJ} / 1000 / $__interval_ms"
ACTIVE_POWER_W = f"({ACTIVE_UJ}) / 1000 / $__interval_ms"


def classes(*, a_second: bool) -> list[str]:
    """Return a column for each class of domain, active and idle.

    They are not added up in the query: a class that received nothing has no field, and null + x is null.
    """
    names = [f"{name} {kind}" for kind in ("active", "idle") for name in CLASSES]
    after = " / 1000 / $__interval_ms" if a_second else ""
    return [f'sum("{field}"){after} AS "{name}"' for field, name in zip(ENERGIES, names, strict=True)]
