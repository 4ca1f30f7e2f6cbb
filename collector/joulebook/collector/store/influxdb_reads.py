"""What is asked of an InfluxDB store, in InfluxQL."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import chain

from joulebook.collector.facts.mark import Ints, Mark
from joulebook.collector.ingest.sequence import Span
from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store import samples
from joulebook.collector.store import summed as sums
from joulebook.collector.store.anew import HOUR_US
from joulebook.collector.store.garbled import reading
from joulebook.collector.store.influxdb_accounts import read_accounts
from joulebook.collector.store.influxdb_gaps import stored_gaps, uj_of
from joulebook.collector.store.influxdb_http import NAMES, InfluxServer, literal
from joulebook.collector.store.influxdb_ledger import GAP, UNATTRIBUTED
from joulebook.collector.store.influxdb_lines import tagged, unpacked
from joulebook.collector.store.influxdb_marks import FIELDS, marks_in
from joulebook.collector.store.influxdb_names import NameReads
from joulebook.collector.store.influxdb_over_time import rows_around
from joulebook.collector.store.influxdb_samples import read_samples
from joulebook.collector.store.influxdb_scheduled import ScheduledReads
from joulebook.collector.store.influxdb_settled import HourKey, Pointer, read_pointers
from joulebook.collector.store.influxdb_window import (
    BY_MARK,
    nearest_after,
    nearest_before,
    newest,
    of_boot,
    read_window,
    where,
)
from joulebook.collector.store.picked import PickedReads
from joulebook.collector.store.protocol import Range, RawEnergy, StoreError
from joulebook.collector.store.readings import Points
from joulebook.collector.store.rows import AccountRow, Summed, TimeRow
from joulebook.collector.store.spread import around, limited, spread
from joulebook.collector.store.window import Window
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import catalogue

_LAYOUTS = 10_000
_ENERGY = catalogue()[metrics.METRIC_DOMAIN_ENERGY]


def _times_us(mark: Mark) -> Ints:
    return mark.ticks_us()[0]


class Reads(NameReads, ScheduledReads, PickedReads):
    """The reading half. Only Reports that have their mark are seen, whatever else was written."""

    def __init__(self, server: InfluxServer) -> None:
        self._server = server
        self._layouts: dict[tuple[str, int], NodeLayout] = {}

    @property
    def place(self) -> str:
        """Return what it is, for people."""
        return self._server.place

    @contextmanager
    def snapshot(self) -> Iterator[Reads]:
        """Give one set of Reports to several questions about the same range."""
        frozen = _Frozen(self._server)
        frozen._layouts = self._layouts
        yield frozen

    def close(self) -> None:
        """Let go of the store."""
        self._server.close()

    def _window(self, selected: Range) -> Window:
        return read_window(
            self._server, Range(selected.from_us, selected.to_us, selected.node), self._known_layout
        )

    def _pointers(self, selected: Range) -> dict[HourKey, Pointer]:
        """Return what is settled of the hours that a range touches."""
        return read_pointers(self._server, selected.from_us, selected.to_us, self._nodes_of(selected))

    def _nodes_of(self, selected: Range) -> set[str] | None:
        """Return the nodes on which anything of a range can be; None: any."""
        if selected.node is not None:
            return {selected.node}
        if selected.account is None or not selected.account.startswith("job:"):
            return None
        return {row.node for row in self.jobs([selected.account.removeprefix("job:")])}

    @reading
    def layout(self, node: str, hash_: int) -> NodeLayout | None:
        """Return a layout that a stored Report was sent with."""
        found = self._layouts.get((node, hash_))
        if found is not None:
            return found
        condition = f'"node" = {literal(tagged(node))} AND "hash" = {literal(f"{hash_:016x}")}'
        (series,) = self._server.query(f'SELECT * FROM "{NAMES}"."layout" WHERE {condition}')
        for row in (row for part in series for row in part.rows()):
            if len(self._layouts) > _LAYOUTS:
                self._layouts.clear()
            found = NodeLayout(hash_, report_pb2.Layout.FromString(unpacked(row)))
            self._layouts[node, hash_] = found
        return found

    def _known_layout(self, node: str, hash_: int) -> NodeLayout:
        found = self.layout(node, hash_)
        if found is None:
            raise StoreError(
                f"store {self._server.address.url}: layout {hash_:016x} of {node} is missing, though its "
                f'Reports are there; was anything deleted from retention policy "{NAMES}"?'
            )
        return found

    def _span(self, mark: Mark) -> Span:
        return mark.span(self._known_layout(mark.node, mark.layout))

    @reading
    def tails(self) -> dict[tuple[str, bytes], Span]:
        """Return the last Report's span of every boot of every node."""
        (found,) = self._server.query(newest())
        return {(mark.node, mark.boot): self._span(mark) for mark in marks_in(found)}

    @reading
    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]:
        """Return the Reports that touch [start_us, end_us] of the boot clock and one on either side."""
        touching = f'{of_boot(node, boot)} AND "end_us" >= {start_us} AND "start_us" <= {end_us}'
        answers = self._server.query(
            f'SELECT {FIELDS} FROM "report" WHERE {touching} {BY_MARK}',
            nearest_before(node, boot, "end_us", start_us),
            nearest_after(node, boot, "start_us", end_us),
        )
        marks = [mark for found in answers for mark in marks_in(found)]
        return [self._span(mark) for mark in sorted(marks, key=lambda m: m.start_us)]

    @reading
    def accounts(self, selected: Range) -> list[AccountRow]:
        """Return what each account received on each node, from the ledger."""
        # First: what they say is there.
        pointers = self._pointers(selected)
        window = self._window(selected) if selected.account in (None, UNATTRIBUTED) else None
        return read_accounts(self._server, selected, pointers, window, self._window)

    def totals(self, accounts: Collection[str], within: Range) -> list[AccountRow]:
        """Return all that some accounts ever received, by account and node."""
        return sums.totals(self, accounts, within)

    def energy_by_node(self) -> list[tuple[str, str, int]]:
        """Return (node, account, µJ) of all there ever was; all jobs are one account, `job`."""
        return sums.energy_by_node(self)

    def summed(self, selected: Range, most_jobs: int) -> Summed:
        """Return what each account received on all nodes of a range, and how they were watched."""
        return sums.summed(self, selected, most_jobs)

    @reading
    def energy_over_time(
        self,
        from_us: int,
        to_us: int,
        step_us: int,
        node: str | None,
        origin_us: int | None = None,
        most_jobs: int | None = None,
    ) -> list[tuple[str, int, int]]:
        """Return (account, step, µJ) of the ledger over the steps of (from_us, to_us]; none that is 0."""
        selected = around(from_us, to_us, node)
        pointers = self._pointers(selected)
        window = self._window(selected)
        (gap_rows,) = self._server.query(
            f'SELECT * FROM "ledger" WHERE {where(selected.from_us, selected.to_us, node)} '
            f'AND "gap" = {literal(GAP)} GROUP BY "node"'
        )
        stored = stored_gaps(gap_rows)
        gaps = (
            (
                UNATTRIBUTED,
                sum(uj_of(gap, stored)),
                gap.end_unix_us - (gap.gap.end_us - gap.gap.start_us),
                gap.end_unix_us,
            )
            for gap in window.gaps
        )
        settled = rows_around(self._server, selected, window.marks, pointers)
        rows = chain(settled, gaps)
        return limited(spread(rows, from_us, to_us, step_us, origin_us), most_jobs)

    @reading
    def watched(self, selected: Range) -> list[TimeRow]:
        """Return how each node was watched."""
        return self._window(selected).watched()

    @reading
    def raw_energy(self, selected: Range) -> list[RawEnergy]:
        """Return raw readings of energy, for the check of the books."""
        marks = self._window(selected).marks
        stored = read_samples(self._server, marks, _ENERGY, selected.node, None)
        return samples.raw_energy(stored, marks, _times_us, self._known_layout)

    def sums(self, selected: Range, step_us: int, metric: int, subject: str | None) -> None:
        """Add nothing up."""

    def measured(self, selected: Range) -> None:
        """Add nothing up."""

    @reading
    def raw_gaps(self, selected: Range) -> list[tuple[Edge, Edge]]:
        """Return the raw readings on both sides of every gap, for the check of the books."""
        return [(one.before, one.after) for one in self._window(selected).gaps]

    @reading
    def points(self, selected: Range, metric: int, subject: str | None) -> list[Points]:
        """Return the series of a metric, of one subject where it is named."""
        entry = catalogue()[metric]
        if subject and entry.subject == "node":
            return []
        marks = self._window(selected).marks
        stored = read_samples(self._server, marks, entry, selected.node, subject)
        return samples.points(stored, marks, _times_us, entry)


class _Frozen(Reads):
    """Reads that keep the set of Reports they saw first."""

    def __init__(self, server: InfluxServer) -> None:
        super().__init__(server)
        self._windows: dict[tuple[int, int, str | None], Window] = {}
        # With the nodes that were asked for.
        self._settled: dict[Range, tuple[set[str] | None, dict[HourKey, Pointer]]] = {}

    def _window(self, selected: Range) -> Window:
        key = (selected.from_us, selected.to_us, selected.node)
        if key not in self._windows:
            self._windows[key] = super()._window(selected)
        return self._windows[key]

    def _pointers(self, selected: Range) -> dict[HourKey, Pointer]:
        if selected not in self._settled:
            nodes = self._nodes_of(selected)
            found = read_pointers(self._server, selected.from_us, selected.to_us, nodes)
            self._settled[selected] = nodes, found
        return self._settled[selected][1]

    def _pointers_of(self, keys: Collection[HourKey]) -> dict[HourKey, Pointer]:
        found: dict[HourKey, Pointer] = {}
        left = set(keys)
        for within, (nodes, known) in self._settled.items():
            from_us, to_us = within.from_us, within.to_us
            seen = {
                key
                for key in left
                if (nodes is None or key[0] in nodes)
                and from_us < (key[1] + 1) * HOUR_US
                and key[1] * HOUR_US < to_us
            }
            found |= {key: known[key] for key in seen & known.keys()}
            left -= seen
        return found | super()._pointers_of(left)
