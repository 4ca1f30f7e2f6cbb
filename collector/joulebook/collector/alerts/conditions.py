"""What Reports say of the conditions that rules watch. Pure: no clock, no store."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from joulebook.collector.alerts.alert import Evidence, Key
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.rules import IDLE_BAND_MW
from joulebook.collector.alerts.subjects import HeldCpus, HeldGpus, Subjects
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.layout import FIXED_ACCOUNTS, IDLE, NodeLayout
from joulebook.v1 import report_pb2

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Condition:
    """A rule's condition that held all through a Report, for the observed part of its time."""

    observed_us: int
    wasted_uj: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Seen:
    """What a Report of a node says, from its start to its end by the wall clock.

    known is every subject that there is on the node; of those that neither hold nor are clear nothing can be
    said. users is who jobs belong to, as far as that is known.
    """

    node: str
    start_us: int
    end_us: int
    known: frozenset[Key]
    holds: Mapping[Key, Condition] = field(default_factory=dict)
    clear: frozenset[Key] = frozenset()
    users: Mapping[str, str] = field(default_factory=dict)
    # Sources of which the Report tells: what is wrong with them, and what mends it; None for nothing.
    sources: Mapping[str, Evidence | None] = field(default_factory=dict)


class Conditions:
    """Judges Reports. What there is to judge follows from a layout, and is worked out once for each."""

    def __init__(self, config: AlertsConfig, watched: Container[str]) -> None:
        self._gpu_band = config.gpu_held_idle_band
        self._cpu_share = config.cpu_held_idle_share
        self._watched = watched
        self._subjects: WeakKeyDictionary[NodeLayout, Subjects] = WeakKeyDictionary()

    def seen(self, reports: Sequence[Decoded], books: Books) -> list[Seen]:
        """Judge Reports by their readings and their books; books' report numbers are places in reports."""
        first = np.searchsorted(books.report, np.arange(len(reports) + 1)).tolist()
        return [self._seen(one, books, i, first[i], first[i + 1]) for i, one in enumerate(reports)]

    def _seen(self, decoded: Decoded, books: Books, report: int, first: int, last: int) -> Seen:
        layout, values = decoded.readings.layout, decoded.readings.values
        subjects = self._subjects.get(layout)
        if subjects is None:
            subjects = self._subjects[layout] = Subjects(layout, self._watched)
        length_us = decoded.end_us - decoded.start_us
        holds: dict[Key, Condition] = {}
        clear: set[Key] = set()
        busy: set[str] = set()
        doubtful: set[str] = set()
        for place, condition in self._gpus(subjects.gpus, values, length_us):
            keys, jobs = subjects.gpu_keys[place], subjects.gpus.jobs[place]
            if condition is None:
                doubtful.update(jobs)
            elif not condition.observed_us:
                busy.update(jobs)
                clear.update(keys)
            else:
                holds.update(zip(keys, _parts(condition, subjects.gpus.sharers[place]), strict=False))
        for place, condition in self._cpus(subjects.cpus, decoded, length_us):
            key, job = subjects.cpu_keys[place], subjects.cpus.jobs[place]
            if condition is None or job in busy:
                clear.add(key)
            elif job not in doubtful:
                holds[key] = condition
        if subjects.is_unallocated:
            observed_us = length_us - min(int(books.unread_us[report]), length_us)
            wasted_uj = _energy_uj(books, first, last, FIXED_ACCOUNTS[IDLE])
            evidence = {"idle_power_mw": _mw(wasted_uj, length_us)}
            if observed_us:
                holds[subjects.unallocated] = Condition(observed_us, wasted_uj, evidence)
        else:
            clear.add(subjects.unallocated)
        start_us, end_us = (at + decoded.realtime_offset_us for at in (decoded.start_us, decoded.end_us))
        return Seen(
            decoded.node,
            start_us,
            end_us,
            subjects.known,
            holds,
            frozenset(clear),
            subjects.users,
            {one.name: _suspicion(one) for one in decoded.sources},
        )

    def _gpus(self, gpus: HeldGpus, values: Ints, length_us: int) -> Iterator[tuple[int, Condition | None]]:
        """Give each GPU's condition if it idled all through, BUSY if it did not, None if nobody can know."""
        if not gpus.names:
            return
        unread_us = np.where(gpus.unread_row >= 0, values[gpus.unread_row, 1:].sum(axis=1), 0)
        observed_us = np.maximum(length_us - unread_us, 0)
        utilisation_ppm = values[gpus.utilisation_row].cumsum(axis=1)[:, 1:].max(axis=1)
        energy_uj = values[gpus.energy_row, 1:].sum(axis=1)
        floor_mw = np.where(
            gpus.idle_power_row >= 0, values[gpus.idle_power_row].cumsum(axis=1)[:, 1:].max(axis=1), 0
        )
        band_mw = np.maximum(IDLE_BAND_MW, ((gpus.limit_mw - floor_mw) * self._gpu_band).astype(np.int64))
        # µJ in a ms are mW.
        power_mw = energy_uj // np.maximum(observed_us // 1000, 1)
        is_idle = (utilisation_ppm == 0) & (power_mw <= floor_mw + band_mw)
        is_known = (gpus.utilisation_row >= 0) & (observed_us > 0)
        for i in range(len(gpus.names)):
            if not is_known[i]:
                yield i, None
            elif not is_idle[i]:
                yield i, BUSY
            else:
                evidence = {
                    "power_mw": int(power_mw[i]),
                    "idle_power_mw": int(floor_mw[i]),
                    "idle_band_mw": int(floor_mw[i] + band_mw[i]),
                    "gpu_utilisation_ppm": int(utilisation_ppm[i]),
                }
                yield i, Condition(int(observed_us[i]), int(energy_uj[i]), evidence)

    def _cpus(
        self, cpus: HeldCpus, decoded: Decoded, length_us: int
    ) -> Iterator[tuple[int, Condition | None]]:
        """Give each reservation's condition if next to none of it was used, else None."""
        if not cpus.jobs:
            return
        values = decoded.readings.values
        used_us = values[cpus.cpu_row, 1:].sum(axis=1)
        is_idle = used_us <= cpus.millicpus * length_us // 1000 * self._cpu_share
        floor_uj = 0
        if is_idle.any():
            floor_mw = values[cpus.idle_power_row].cumsum(axis=1)[:, 1:]
            drawn_uj = values[cpus.energy_row, 1:]
            floor_uj = int(np.minimum(floor_mw * decoded.readings.interval_us // 1000, drawn_uj).sum())
        for i, millicpus in enumerate(cpus.millicpus.tolist()):
            if not is_idle[i]:
                yield i, None
                continue
            # What the CPUs draw however little they are used, by the share of them that is held.
            wasted_uj = floor_uj * min(millicpus, cpus.node_millicpus) // cpus.node_millicpus
            evidence = {
                "reserved_millicpus": millicpus,
                "used_millicpus": int(used_us[i]) * 1000 // length_us,
                "idle_power_mw": _mw(wasted_uj, length_us),
            }
            yield i, Condition(length_us, wasted_uj, evidence)


BUSY = Condition(0, 0, {})


def _suspicion(source: report_pb2.SourceStatus) -> Evidence | None:
    if source.state != report_pb2.SOURCE_STATE_SUSPECT:
        return None
    return {"reason": source.reason, "fix": source.fix}


def _energy_uj(books: Books, first: int, last: int, account: str) -> int:
    """Return what an account received, of the rows from first to before last."""
    return sum(
        int(books.active_uj[row].sum() + books.idle_uj[row].sum())
        for row in range(first, last)
        if books.account[row] == account
    )


def _mw(energy_uj: int, length_us: int) -> int:
    return energy_uj * 1000 // length_us


def _parts(condition: Condition, sharers: int) -> Iterator[Condition]:
    """Share a GPU's waste among those who hold it; the first ones get what does not divide."""
    whole, rest = divmod(condition.wasted_uj, sharers)
    return (Condition(condition.observed_us, whole + (i < rest), condition.evidence) for i in range(sharers))
