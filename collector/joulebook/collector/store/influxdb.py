"""A store in InfluxDB, which any number of collectors may share.

It has no transactions. A point is replaced by another of the same measurement, tags and time, so a Report
that is written again is written over itself; and its mark is written last, so without it nothing was there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from joulebook.collector.facts.mark import Mark, Name, free_clock, marks_of
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.anew import HOUR_US, SETTLES_US
from joulebook.collector.store.credentials import authorization
from joulebook.collector.store.influxdb_address import InfluxAddress
from joulebook.collector.store.influxdb_http import NAMES, InfluxServer, literal
from joulebook.collector.store.influxdb_ledger import GAP, gap_line, ledger_lines
from joulebook.collector.store.influxdb_lines import SampleLines, line, packed, requests, tagged
from joulebook.collector.store.influxdb_marks import FIELDS, mark_line, marks_in
from joulebook.collector.store.influxdb_names import revision_lines
from joulebook.collector.store.influxdb_reads import Reads
from joulebook.collector.store.influxdb_scheduled import scheduled_lines
from joulebook.collector.store.influxdb_settled import HourKey
from joulebook.collector.store.influxdb_window import BY_MARK, where
from joulebook.collector.store.protocol import Commit, StoreError
from joulebook.collector.store.scheduled import Scheduled, news
from joulebook.v1 import report_pb2
from joulebook.v1.naming import job_of

_log = logging.getLogger(__name__)

_TEMPLATES = 100_000
_NO_GAP = [0] * 6


class InfluxStore(Reads):
    """A Store in a database of an InfluxDB server."""

    shared = True

    def __init__(self, address: str, *, credentials: str = "", compress: bool = True) -> None:
        try:
            parsed = InfluxAddress.parse(address)
        except ValueError as error:
            raise StoreError(f"store {address!r}: {error}") from error
        super().__init__(InfluxServer(parsed, authorization(credentials), compress=compress))
        self._writing = threading.Lock()
        self._templates: dict[tuple[str, int, str], SampleLines] = {}
        self._named: set[tuple[str, int]] = set()
        # Hours that Reports came for here when they were over long ago.
        self.late_hours: set[HourKey] = set()
        try:
            _log.info("%s: %s", self._server.place, self._server.writes_by())
            self._jobs = {(row.node, row.job) for row in self.jobs()}
            # Wall clock at the end of each node's newest Report: what begins after it cannot collide.
            self._newest_us = {row.node: row.last_unix_us for row in self.nodes()}
        except BaseException:
            self.close()
            raise

    def commit(self, commit: Commit) -> None:
        """Write readings and books, and once they are durable the marks. Raises StoreError."""
        with self._writing:
            reports = commit.reports
            clocks = self._clocks(reports)
            fresh = [d for d in reports if (d.node, d.readings.layout.hash) not in self._named]
            jobs, names = self._names(commit, fresh)
            names += revision_lines(commit, clocks, self._stored(commit))
            for body in requests(iter(names)):
                self._server.write(body, NAMES)
            for body in requests(self._points(commit, clocks)):
                self._server.write(body)
            for body in requests(mark_line(m) for m in marks_of(reports, commit.books, clocks)):
                self._server.write(body)
            now_us = time.time_ns() // 1000
            for decoded in reports:
                hour = (decoded.end_us + decoded.realtime_offset_us - 1) // HOUR_US
                if (hour + 1) * HOUR_US < now_us - SETTLES_US:
                    self.late_hours.add((decoded.node, hour))
            self._jobs |= jobs
            self._named |= {(d.node, d.readings.layout.hash) for d in fresh}
            for decoded in reports:
                end_us = decoded.end_us + decoded.realtime_offset_us
                self._newest_us[decoded.node] = max(self._newest_us.get(decoded.node, end_us), end_us)

    def schedule(self, told: Mapping[str, Scheduled]) -> None:
        """Merge what is told of jobs with what is known, durably. Raises StoreError.

        Collectors that are told different things at the same moment each write what they know of a job.
        """
        with self._writing:
            for body in requests(scheduled_lines(news(self.scheduled(told), told))):
                self._server.write(body, NAMES)

    def _stored(self, commit: Commit) -> set[Name]:
        """Return which of the Reports that come late are here already, by way of another collector."""
        late: dict[tuple[str, bytes], list[Decoded]] = defaultdict(list)
        for place in {place for place, _ in commit.late}:
            decoded = commit.reports[place]
            late[decoded.node, decoded.boot].append(decoded)
        return {
            (*of, span.start.at_us)
            for of, own in late.items()
            for span in self.spans(*of, min(d.start_us for d in own), max(d.end_us for d in own))
        }

    def _points(self, commit: Commit, clocks: Sequence[str]) -> Iterator[bytes]:
        for decoded, clock in zip(commit.reports, clocks, strict=True):
            yield from self._template(decoded.readings.layout, clock).of(decoded)
        yield from ledger_lines(commit.reports, commit.books, clocks)
        yield from self._emptied(commit.filled)
        for placed in commit.gaps:
            gap = placed.gap
            energies = [int(uj) for uj in gap.by_class_uj]
            yield gap_line(placed.node, placed.boot, gap.start_us, gap.end_us, energies, placed.end_unix_us)

    def _template(self, layout: NodeLayout, clock: str) -> SampleLines:
        key = (layout.node, layout.hash, clock)
        found = self._templates.get(key)
        if found is None:
            if len(self._templates) > _TEMPLATES:
                self._templates.clear()
            found = self._templates[key] = SampleLines(layout, clock)
        return found

    def _emptied(self, filled: Sequence[tuple[str, bytes, int]]) -> Iterator[bytes]:
        """Return what replaces the rows of gaps that something fell into: nothing passed in them."""
        for node, boot, start_us in filled:
            condition = f'"gap" = {literal(GAP)} AND "node" = {literal(tagged(node))}'
            (found,) = self._server.query(
                f'SELECT "gap_start_us", "gap_end_us" FROM "ledger" WHERE {condition} '
                f'AND "boot" = {literal(boot.hex())} AND "gap_start_us" = {start_us}'
            )
            for row in (row for series in found for row in series.rows()):
                yield gap_line(node, boot, 0, 0, _NO_GAP, row["time"])

    def _names(self, commit: Commit, fresh: Sequence[Decoded]) -> tuple[set[tuple[str, str]], list[bytes]]:
        """Return new jobs, and the points of what is no time series: each says one thing, once."""
        jobs: set[tuple[str, str]] = set()
        lines = []
        for decoded in fresh:
            layout, node = decoded.readings.layout, decoded.node
            tags = {"hash": f"{layout.hash:016x}", "node": node}
            lines.append(line("layout", tags, packed(layout.serialized), 0))
            began_us = decoded.start_us + decoded.realtime_offset_us
            for w in layout.message.workloads:
                key = (node, job_of(w))
                if w.kind != report_pb2.WORKLOAD_KIND_JOB or key in self._jobs or key in jobs:
                    continue
                jobs.add(key)
                said: dict[str, int | str] = {"source": w.source, "name": w.name, "user": w.user}
                said["start_unix_us"] = w.start_unix_us or began_us
                lines.append(line("job", {"job": job_of(w), "node": node}, said, 0))
        for decoded in commit.reports:
            for end in decoded.ended:
                status: dict[str, int | str] = {"exit_status": end.exit_status}
                tags = {"job": end.workload_id or "-", "node": decoded.node}
                lines.append(line("job_end", tags, status, end.end_unix_us))
            for one in decoded.sources:
                state: dict[str, int | str] = {"state": int(one.state), "name": one.name}
                state |= {"reason": one.reason, "fix": one.fix}
                lines.append(line("source", {"node": decoded.node, "source": one.name or "-"}, state, 0))
        return jobs, lines

    def _clocks(self, reports: Sequence[Decoded]) -> list[str]:
        """Return each Report's clock tag: empty, but where the node's wall clock was set back over others.

        The agent knows, and what it says every collector goes by. One that lost its memory does not: where
        a Report's time is taken here, it gets another tag than it came with.
        """
        newest = dict(self._newest_us)
        late: set[str] = set()
        clocks = [_clock(decoded) for decoded in reports]
        for i in sorted(range(len(reports)), key=lambda i: _ends(reports[i])[1]):
            first_us, last_us = _ends(reports[i])
            node = reports[i].node
            if node in newest and first_us <= newest[node]:
                late.add(node)
            newest[node] = max(newest.get(node, last_us), last_us)
        for node in late:
            # In a batch the first of two that collide was not late; both have to be known here.
            together = [i for i, decoded in enumerate(reports) if decoded.node == node]
            for i, clock in self._told_apart(node, [(i, reports[i]) for i in together]):
                clocks[i] = clock
        return clocks

    def _told_apart(self, node: str, own: Sequence[tuple[int, Decoded]]) -> Iterator[tuple[int, str]]:
        ends = [_ends(decoded) for _, decoded in own]
        from_us, to_us = min(first for first, _ in ends), max(last for _, last in ends)
        # A mark that ends after these may have begun before they end.
        condition = f'{where(from_us - 1, 1 << 62, node)} AND "start_unix_us" < {to_us}'
        (found,) = self._server.query(f'SELECT {FIELDS} FROM "report" WHERE {condition} {BY_MARK}')
        taken = [(m.boot, m.start_us, m.clock, *_span_us(m)) for m in marks_in(found)]
        for (i, decoded), (first_us, last_us) in sorted(
            zip(own, ends, strict=True), key=lambda e: e[0][1].start_us
        ):
            clash = [t for t in taken if t[3] <= last_us and t[4] >= first_us]
            same = [t[2] for t in clash if t[0] == decoded.boot and t[1] == decoded.start_us]
            clock = same[0] if same else _clock(decoded)
            if not same and clock in (used := {t[2] for t in clash}):
                clock = free_clock(used)
            taken.append((decoded.boot, decoded.start_us, clock, first_us, last_us))
            yield i, clock


def _clock(decoded: Decoded) -> str:
    return str(decoded.wall_clock or "")


def _ends(decoded: Decoded) -> tuple[int, int]:
    """Return the wall clock at the ends of a Report's first and last interval."""
    offset_us = decoded.realtime_offset_us
    return decoded.start_us + int(decoded.readings.interval_us[0]) + offset_us, decoded.end_us + offset_us


def _span_us(mark: Mark) -> tuple[int, int]:
    return int(mark.ticks_us()[0][0]), mark.end_unix_us
