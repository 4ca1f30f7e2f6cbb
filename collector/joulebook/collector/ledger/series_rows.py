"""Which row of a Report holds which series, and what it may show at most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.shared import share, shared_ints
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import catalogue

Ints = npt.NDArray[np.int64]

_WHOLE_PPM = 1_000_000
# A domain that drew more than this was misread: a rack is 100 kW.
MAX_POWER_MW = 1_000_000_000
MAX_READING = 1 << 62

_ENTRIES = catalogue()
_IS_COUNTER = np.zeros(max(_ENTRIES) + 1, dtype=bool)
_HIGHEST = np.zeros(max(_ENTRIES) + 1, dtype=np.int64)
for _number, _entry in _ENTRIES.items():
    _IS_COUNTER[_number] = _entry.is_counter
    _HIGHEST[_number] = _WHOLE_PPM if _entry.unit == "ppm" else MAX_READING
# Powers that books are made by; what a driver shows besides is as it is.
_HIGHEST[
    [
        metrics.METRIC_DOMAIN_IDLE_POWER,
        metrics.METRIC_NODE_OTHERS_CPU_POWER,
        metrics.METRIC_WORKLOAD_CPU_POWER,
    ]
] = MAX_POWER_MW


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """What a series is: the metric's number and the name of its subject."""

    metric: int
    domain: str = ""
    device: str = ""
    workload: str = ""


class SeriesRows:
    """The rows of a Layout, which count from 0; -1 stands for a series that the node does not send."""

    def __init__(self, message: report_pb2.Layout) -> None:
        self._metric = shared_ints(message.series_metric)
        self._domain = shared_ints(message.series_domain)
        self._device = shared_ints(message.series_device)
        self._workload = shared_ints(message.series_workload)
        self.is_counter = share(_IS_COUNTER[self._metric])
        # What each row may show at most.
        self.highest = share(_HIGHEST[self._metric])

    @property
    def metrics(self) -> Ints:
        """Return the number of each row's metric."""
        return self._metric

    def _places(self, metric: int, subject: Ints) -> Iterator[tuple[int, int]]:
        """Give the place of its subject and the row of each series of a metric."""
        rows = np.flatnonzero(self._metric == metric)
        return zip(subject[rows].tolist(), rows.tolist(), strict=True)

    def _rows(self, metric: int, subject: Ints, count: int) -> Ints:
        found = np.full(count, -1, dtype=np.int64)
        rows = np.flatnonzero(self._metric == metric)
        found[subject[rows] - 1] = rows
        return shared_ints(found)

    def _node_row(self, metric: int) -> Ints:
        """Return the one row of a metric of the node."""
        return shared_ints([next((row for _, row in self._places(metric, self._domain)), -1)])
