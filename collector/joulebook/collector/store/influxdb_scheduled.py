"""What schedulers told of jobs, in InfluxDB: a point a job, at the beginning of time, replaced as a whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from joulebook.collector.store.garbled import reading
from joulebook.collector.store.influxdb_http import NAMES, Series, literal
from joulebook.collector.store.influxdb_lines import line, untag
from joulebook.collector.store.scheduled import Scheduled

_KINDS = {field.name: field.type for field in fields(Scheduled)}
# A field, once written, cannot be taken back, nor be null: a number that is not known. None is as small.
_UNKNOWN = -(1 << 62)


class ScheduledReads:
    """The reading half's part that schedulers told."""

    if TYPE_CHECKING:

        @property
        def place(self) -> str: ...

        def _asked(self, tag: str, names: Collection[str] | None, *queries: str) -> list[list[Series]]: ...

    @reading
    def scheduled(self, jobs: Collection[str] | None = None) -> dict[str, Scheduled]:
        """Return what was told of every job, or of those that are named and of which anything was."""
        (found,) = self._asked("job", jobs, f'SELECT * FROM "{NAMES}"."scheduled" {{}} GROUP BY "job"')
        return {untag(s.tags["job"]): _scheduled(row) for s in found for row in s.rows() if _whole(row)}

    @reading
    def jobs_known_as(self, known_as: str) -> list[str]:
        """Return the jobs that their scheduler calls so, by name."""
        condition = f'WHERE "known_as" = {literal(known_as)}'
        query = f'SELECT "known_as" FROM "{NAMES}"."scheduled" {condition} GROUP BY "job"'
        (found,) = self._asked("job", None, query)
        return sorted(untag(series.tags["job"]) for series in found)


def scheduled_lines(told: Mapping[str, Scheduled]) -> Iterator[bytes]:
    """Return the points of what was told."""
    for job, one in told.items():
        said: dict[str, int | str] = {}
        for name in _KINDS:
            value = getattr(one, name)
            said[name] = _UNKNOWN if value is None else value
        yield line("scheduled", {"job": job}, said, 0)


def _whole(row: dict[str, Any]) -> bool:
    """Say whether a point is all there: the server stores it field by field."""
    return all(row.get(name) is not None for name in _KINDS)


def _scheduled(row: dict[str, Any]) -> Scheduled:
    said: dict[str, Any] = {n: None if row[n] == _UNKNOWN else row[n] for n in _KINDS}
    for name, value in said.items():
        expected = str if _KINDS[name] == "str" else int
        if value is not None and type(value) is not expected:
            raise ValueError(f"{name} {value!r}: expected {expected.__name__}")
    return Scheduled(**said)
