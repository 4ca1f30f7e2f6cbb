"""What is no time series in InfluxDB: nodes as they are, jobs and where they were, and their revisions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from joulebook.collector.facts.mark import Name
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.anew import HOUR_US
from joulebook.collector.store.garbled import reading
from joulebook.collector.store.influxdb_http import NAMES, InfluxServer, Series, literal
from joulebook.collector.store.influxdb_lines import line, tagged, untag
from joulebook.collector.store.influxdb_marks import FIELDS, marks_in
from joulebook.collector.store.influxdb_settled import BY_HOUR, HourKey, Pointer, read_pointers
from joulebook.collector.store.influxdb_superseded import FIELDS as REPLACED
from joulebook.collector.store.influxdb_superseded import Replaced, replaced
from joulebook.collector.store.influxdb_window import BY_MARK, among, where
from joulebook.collector.store.presence import places
from joulebook.collector.store.protocol import Commit, Range, StoreView
from joulebook.collector.store.rows import JobRow, NodeRow, Places, Revision, Superseded
from joulebook.collector.store.settled import Settled

# Names in the condition of one question.
_AT_ONCE = 200
# Nodes that are asked for one by one.
_FEW = 10


class NameReads:
    """The reading half's part that is no time series."""

    if TYPE_CHECKING:
        _server: InfluxServer

        @property
        def place(self) -> str: ...

        def _known_layout(self, node: str, hash_: int) -> NodeLayout: ...

    def _asked(self, tag: str, names: Collection[str] | None, *queries: str) -> list[list[Series]]:
        """Ask for all there is, or for what has one of some names as a tag; {} stands for the condition."""
        if names is None:
            return self._server.query(*(query.format("") for query in queries))
        found: list[list[Series]] = [[] for _ in queries]
        ordered = sorted(names)
        for begin in range(0, len(ordered), _AT_ONCE):
            some = " OR ".join(
                f'"{tag}" = {literal(tagged(one))}' for one in ordered[begin : begin + _AT_ONCE]
            )
            answers = self._server.query(*(query.format(f"WHERE {some}") for query in queries))
            for part, answer in zip(found, answers, strict=True):
                part.extend(answer)
        return found

    def places(self, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]) -> Places:
        """Return what nodes' newest Reports say, where jobs are and were of these, and some everywhere."""
        view: StoreView = self  # type: ignore[assignment]  # it is a part of one
        return places(view, nodes, jobs, everywhere)

    @reading
    def nodes(self, named: Collection[str] | None = None, *, sources: bool = True) -> list[NodeRow]:
        """Return every node, or those that are named, by name; how their sources are only where asked for."""
        queries = [f'SELECT last("end_us") AS "end_us", "layout" FROM "report" {{}} {BY_MARK}']
        if sources:
            queries.append(f'SELECT * FROM "{NAMES}"."source" {{}} GROUP BY "node"')
        last, *told_of = self._asked("node", named, *queries)
        states: dict[str, dict[str, tuple[int, str, str]]] = defaultdict(dict)
        for series in chain(*told_of):
            told = sorted((r["name"], (r["state"], r["reason"], r["fix"])) for r in series.rows())
            states[untag(series.tags["node"])] = dict(told)
        found: dict[str, tuple[tuple[int, int], str, str]] = {}
        for series in last:
            node = untag(series.tags["node"])
            for row in series.rows():
                at = (row["time"], row["end_us"])
                if node not in found or at > found[node][0]:
                    found[node] = (at, row["layout"], series.tags["boot"])
        return [
            NodeRow(
                node,
                self._known_layout(node, int(layout, 16)),
                bytes.fromhex(boot),
                end_unix_us,
                states.get(node, {}),
            )
            for node, ((end_unix_us, _), layout, boot) in sorted(found.items())
        ]

    @reading
    def jobs(self, named: Collection[str] | None = None, on: Collection[str] | None = None) -> list[JobRow]:
        """Return every job on every node, or those that are named and on named nodes, by job and node."""
        what, of = '"source", "name", "user", "start_unix_us"', 'GROUP BY "job", "node"'
        jobs, ends = self._asked(
            "job",
            named,
            f'SELECT {what} FROM "{NAMES}"."job" {{}} {of}',
            f'SELECT last("exit_status") AS "exit_status" FROM "{NAMES}"."job_end" {{}} {of}',
        )
        ended = {
            (series.tags["job"], series.tags["node"]): (row["time"], row["exit_status"])
            for series in ends
            for row in series.rows()
        }
        rows = []
        for series in jobs:
            job, node = series.tags["job"], series.tags["node"]
            end = ended.get((job, node), (None, None))
            for row in series.rows():
                said = (row["source"], row["name"], row["user"], row["start_unix_us"])
                rows.append(JobRow(untag(job), untag(node), *said, *end))
        rows = rows if on is None else [row for row in rows if row.node in on]
        return sorted(rows, key=lambda row: (row.job, row.node))

    @reading
    def revisions(self, jobs: Collection[str]) -> dict[str, Revision]:
        """Return the revision of those of some jobs that have another than the first.

        Only Reports that have their mark count. What is older than the oldest mark had one.
        """
        revised_us = self._late_us(jobs)
        for job, own in self._replaced(jobs).items():
            revised_us.setdefault(job, []).extend(one.until_unix_us for one in own)
        return {job: Revision(1 + len(each), max(each)) for job, each in revised_us.items()}

    @reading
    def superseded(self, jobs: Collection[str]) -> dict[str, list[Superseded]]:
        """Return the figures that booking anew replaced, by revision, of those of some jobs that have any."""
        late_us = self._late_us(jobs)
        found = {}
        for job, own in self._replaced(jobs).items():
            found[job] = [
                Superseded(
                    1 + place + sum(at_us <= one.until_unix_us for at_us in late_us.get(job, ())),
                    *(one.energy_uj, one.systematic_uj, one.variance_uj2, one.until_unix_us),
                )
                for place, one in enumerate(own)
            ]
        return found

    def _replaced(self, jobs: Collection[str]) -> dict[str, list[Replaced]]:
        query = f'SELECT {REPLACED} FROM "{NAMES}"."superseded" {{}} GROUP BY "job", "node"'
        (found,) = self._asked("job", jobs, query)
        return replaced(found, self._pointers_of, self.oldest_us) if found else {}

    def _pointers_of(self, keys: Collection[HourKey]) -> dict[HourKey, Pointer]:
        """Return what is settled of some nodes' hours."""
        hours: dict[str, list[int]] = defaultdict(list)
        for node, hour in keys:
            hours[node].append(hour)
        found: dict[HourKey, Pointer] = {}
        if len(hours) > _FEW:
            first, last = (pick(map(pick, hours.values())) for pick in (min, max))
            return read_pointers(self._server, first * HOUR_US, (last + 1) * HOUR_US, hours.keys())
        for node, own in hours.items():
            found |= read_pointers(self._server, min(own) * HOUR_US, (max(own) + 1) * HOUR_US, [node])
        return found

    @reading
    def unsettled_hours(self, from_us: int, to_us: int, nodes: Collection[str] | None) -> list[HourKey]:
        """Return the hours of a range of whole ones in which Reports are that are not settled.

        Of some nodes at least, or of all.
        """
        if nodes is not None and not nodes:
            return []
        (found,) = self._server.query(
            f'SELECT count("end_us") AS "count" FROM "report" WHERE {where(from_us, to_us)}{among(nodes)} '
            f'GROUP BY "node", {BY_HOUR}'
        )
        counts = {
            (untag(series.tags["node"]), (row["time"] - 1) // HOUR_US): row["count"]
            for series in found
            for row in series.rows()
        }
        settled = self._pointers_of(counts)
        return [k for k, count in counts.items() if k not in settled or settled[k].reports != count]

    def settled(self, within: Range, nodes: Collection[str]) -> Settled:
        """Return up to when Reports of some nodes are booked with what their hours tell together."""
        from_us, to_us = within.from_us // HOUR_US * HOUR_US, -(-within.to_us // HOUR_US) * HOUR_US
        waiting: dict[str, int] = {}
        for node, hour in self.unsettled_hours(from_us, to_us, nodes):
            waiting[node] = min(waiting.get(node, 1 << 62), hour * HOUR_US + 1)
        return Settled(1 << 62, waiting)

    def _late_us(self, jobs: Collection[str]) -> dict[str, list[int]]:
        """Return when Reports came late for jobs, of those that have their mark."""
        (found,) = self._asked(
            "job",
            jobs,
            f'SELECT "start_us", "revised_unix_us" FROM "{NAMES}"."revision" {{}} '
            'GROUP BY "job", "node", "boot", "clock"',
        )
        rows = [series.tags | row for series in found for row in series.rows()]
        there = self._marked(rows)
        oldest_us = self.oldest_us() if any(_place(row) not in there for row in rows) else 0
        revised_us: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            if _place(row) in there or row["time"] < oldest_us:
                revised_us[untag(row["job"])].append(row["revised_unix_us"])
        return revised_us

    def _marked(self, rows: Sequence[dict[str, Any]]) -> set[tuple[Any, ...]]:
        """Return the places of the marks that there are among and around those of some Reports."""
        times_us: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            times_us[untag(row["node"])].append(row["time"])
        there = set()
        for node, own in times_us.items():
            (found,) = self._server.query(
                f'SELECT {FIELDS} FROM "report" WHERE {where(min(own) - 1, max(own), node)} {BY_MARK}'
            )
            there |= {(m.node, m.boot.hex(), m.clock, m.end_unix_us, m.start_us) for m in marks_in(found)}
        return there

    def oldest_us(self) -> int:
        """Return when the oldest Report that there is ended."""
        (found,) = self._server.query('SELECT first("end_us") FROM "report"')
        return min((row["time"] for series in found for row in series.rows()), default=1 << 62)


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    return untag(row["node"]), row["boot"], row["clock"], row["time"], row["start_us"]


def revision_lines(commit: Commit, clocks: Sequence[str], stored: Collection[Name]) -> Iterator[bytes]:
    """Return the points of what comes late for jobs; of Reports that are stored already, none."""
    for place, account in commit.late:
        decoded = commit.reports[place]
        if (decoded.node, decoded.boot, decoded.start_us) not in stored:
            tags = {"boot": decoded.boot.hex(), "clock": clocks[place], "node": decoded.node}
            yield _line(decoded, tags | {"job": account.removeprefix("job:")}, commit.unix_us)


def _line(decoded: Decoded, tags: dict[str, str], unix_us: int) -> bytes:
    fields: dict[str, int | str] = {"start_us": decoded.start_us, "revised_unix_us": unix_us}
    return line("revision", tags, fields, decoded.end_us + decoded.realtime_offset_us)
