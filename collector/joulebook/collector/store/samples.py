"""Readings by series and time, of which only those count that a mark vouches for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from joulebook.collector.facts.mark import Ints, Mark
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.series_rows import SeriesKey
from joulebook.collector.store.protocol import RawEnergy
from joulebook.collector.store.readings import Points
from joulebook.v1.catalogue import MetricEntry

# What a series names, as SeriesKey has it.
SUBJECTS = ("domain", "device", "workload")
Own = tuple[str, ...]
# node, clock, subjects
StoredKey = tuple[str, str, Own]
# Times, in order and each once, and values.
Stored = dict[StoredKey, tuple[Ints, Ints]]
# The times that a Report's intervals are stored at.
TimesOf = Callable[[Mark], Ints]


def _at(stored: tuple[Ints, Ints], wanted: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return the values at some times, and where there are any."""
    times, values = stored
    place = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    there = times[place] == wanted
    return np.where(there, values[place], 0), there


def raw_energy(
    stored: Stored, marks: Sequence[Mark], times_of: TimesOf, layout: Callable[[str, int], NodeLayout]
) -> list[RawEnergy]:
    """Return the raw increments of energy of Reports. What is missing is 0, and so found by the check."""
    groups: dict[tuple[str, int, int, str], list[Ints]] = defaultdict(list)
    for mark in marks:
        wanted = times_of(mark)
        groups[mark.node, mark.layout, len(wanted), mark.clock].append(wanted)
    result = []
    for (name, hash_, length, clock), own in groups.items():
        known = layout(name, hash_)
        energy = np.zeros((len(own), len(known.domain_names), length), dtype=np.int64)
        for i, domain in enumerate(known.domain_names):
            one = stored.get((name, clock, (domain, "", "")))
            if one is not None and known.energy_row[i] >= 0:
                energy[:, i] = _at(one, np.stack(own))[0]
        result.append(RawEnergy(known, energy))
    return result


def points(stored: Stored, marks: Sequence[Mark], times_of: TimesOf, entry: MetricEntry) -> list[Points]:
    """Return a metric's series, Report by Report."""
    ticks: dict[tuple[str, str], list[tuple[int, Ints, Ints, Ints]]] = defaultdict(list)
    for mark in marks:
        ticks[mark.node, mark.clock].append((mark.end_unix_us, times_of(mark), *mark.ticks_us()))
    parts: dict[tuple[str, Own], list[tuple[int, Ints, Ints, Ints]]] = defaultdict(list)
    for (name, clock, own), series in stored.items():
        for end_unix_us, wanted, unix_us, lengths in ticks.get((name, clock), ()):
            values, there = _at(series, wanted)
            if there.any():
                parts[name, own].append((end_unix_us, unix_us[there], lengths[there], values[there]))
    result = []
    for (name, own), found in sorted(parts.items(), key=lambda item: item[0]):
        found.sort(key=lambda part: part[0])
        key = SeriesKey(entry.number, *own)
        columns = ([part[i] for part in found] for i in (1, 2, 3))
        result.append(Points(name, key, *(np.concatenate(column) for column in columns)))
    return result
