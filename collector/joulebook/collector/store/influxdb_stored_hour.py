"""A node's hour out of InfluxDB: what its Reports said, and the rows of each as it was booked live."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from joulebook.collector.facts.mark import Ints, Mark
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.stack import Readings
from joulebook.collector.store.anew import Hour, Rows, UnbalancedError
from joulebook.collector.store.influxdb_http import InfluxServer
from joulebook.collector.store.influxdb_ledger import SUMS
from joulebook.collector.store.influxdb_lines import readings_of, untag
from joulebook.collector.store.influxdb_window import where
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.samples import SUBJECTS
from joulebook.v1.catalogue import catalogue

_SUBJECTS = sorted({entry.subject: entry.subjects for entry in catalogue().values()}.items())
LayoutOf = Callable[[str, int], NodeLayout]


def stored_hour(server: InfluxServer, within: Range, marks: Sequence[Mark], layout_of: LayoutOf) -> Hour:
    """Return what is stored of a node's Reports. Raises UnbalancedError where one is not whole."""
    live = _live(server, within, marks)
    return Hour(_readings(server, within, marks, layout_of), [mark.start for mark in marks], live)


def _live(server: InfluxServer, within: Range, marks: Sequence[Mark]) -> list[Rows]:
    """Return the rows of each Report as it was booked live."""
    place = {(mark.clock, mark.end_unix_us): i for i, mark in enumerate(marks)}
    found: list[Rows] = [{} for _ in marks]
    named = ", ".join(f'"{name}"' for name in SUMS)
    (answer,) = server.query(
        f'SELECT {named} FROM "ledger" WHERE {where(within.from_us, within.to_us, within.node)} '
        'AND "gap" = \'\' GROUP BY "account", "clock"'
    )
    for series in answer:
        account, clock = untag(series.tags["account"]), series.tags.get("clock", "")
        for row in series.rows():
            if (i := place.get((clock, row["time"]))) is not None:
                found[i][account] = tuple(row[name] or 0 for name in SUMS[:-1])
    if any(len(rows) != mark.ledger_rows for rows, mark in zip(found, marks, strict=True)):
        raise UnbalancedError("rows of Reports are missing")
    return found


def _readings(
    server: InfluxServer, within: Range, marks: Sequence[Mark], layout_of: LayoutOf
) -> list[Readings]:
    node = str(within.node)
    alike: dict[tuple[int, str], list[int]] = defaultdict(list)
    for i, mark in enumerate(marks):
        alike[mark.layout, mark.clock].append(i)
    times = [mark.ticks_us()[0] for mark in marks]
    first_us = min(int(own[0]) for own in times)
    last_us = max(int(own[-1]) for own in times)
    samples = _samples(server, Range(first_us - 1, last_us, node))
    found: dict[int, Readings] = {}
    for (hash_, clock), places in alike.items():
        layout = layout_of(node, hash_)
        stored = _stored(samples, layout, clock, np.concatenate([times[i] for i in places]))
        ends = np.cumsum([len(times[i]) for i in places])[:-1]
        for i, values in zip(places, np.split(stored, ends, axis=1), strict=True):
            found[i] = readings_of(layout, marks[i].ticks_us()[1], values)
    return [found[i] for i in range(len(marks))]


def _samples(server: InfluxServer, within: Range) -> dict[tuple[str, ...], tuple[Ints, Ints]]:
    """Return all that is stored of a node, by metric, clock and subjects."""
    found: dict[tuple[str, ...], tuple[Ints, Ints]] = {}
    for subject, names in _SUBJECTS:
        groups = ", ".join(f'"{name}"' for name in ("clock", *names))
        (answer,) = server.query(
            f'SELECT * FROM "{subject}" WHERE {where(within.from_us, within.to_us, within.node)} '
            f"GROUP BY {groups}"
        )
        for series in answer:
            own = tuple(untag(series.tags[name]) if name in names else "" for name in SUBJECTS)
            table = np.array(series.values, dtype=object)
            for column, name in enumerate(series.columns):
                there = np.array([type(value) is int for value in table[:, column]], dtype=bool)
                if name != "time" and there.any():
                    at, values = table[there][:, [0, column]].astype(np.int64).T
                    found[(name, series.tags.get("clock", ""), *own)] = (at, values)
    return found


def _stored(
    samples: dict[tuple[str, ...], tuple[Ints, Ints]], layout: NodeLayout, clock: str, at_us: Ints
) -> Ints:
    """Return what is stored of each series (series, times)."""
    stored = np.zeros((len(layout.series), len(at_us)), dtype=np.int64)
    for row, key in enumerate(layout.series):
        name = catalogue()[key.metric].name
        times, values = samples.get(
            (name, clock, key.domain, key.device, key.workload), (at_us[:0], at_us[:0])
        )
        place = np.minimum(np.searchsorted(times, at_us), len(times) - 1)
        if not len(times) or (times[place] != at_us).any():
            raise UnbalancedError(f"readings of {name} are missing")
        stored[row] = values[place]
    return stored
