"""Lines of what is stored of a Report, with the books' name as a tag and times in ms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from joulebook.collector.facts.mark import Mark
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.influxdb_lines import SampleLines, tag
from joulebook.collector.store.victoriametrics.content import (
    HIGH,
    LOW,
    LOW_BITS,
    ROW,
    Content,
    Series,
    booked_as,
    slots,
)

_TEMPLATES = 100_000
_ALWAYS = len(ROW) - 2


class Lines:
    """Writes Reports as lines; knows the layouts that it met."""

    def __init__(self, books: str) -> None:
        self._books = books
        self._templates: dict[tuple[str, int, str], SampleLines] = {}

    def of(self, layout: NodeLayout, mark: Mark, content: Content) -> Iterator[bytes]:
        """Return a Report's lines, in pieces that fit a request."""
        times = slots(mark)
        if content.booking:
            yield from self._ledger(layout, mark, content, int(times[-1]))
            return
        readings = content.readings(layout)
        lengths = mark.ticks_us()[1]
        yield from self._template(layout, mark.clock).pieces(np.vstack([readings & LOW, lengths, times]))
        yield from self._ledger(layout, mark, content, int(times[-1]))
        if (readings > LOW).any():
            yield from self._above(layout, mark, content)

    def _template(self, layout: NodeLayout, clock: str) -> SampleLines:
        key = (layout.node, layout.hash, clock)
        found = self._templates.get(key)
        if found is None:
            if len(self._templates) > _TEMPLATES:
                self._templates.clear()
            found = self._templates[key] = SampleLines(layout, clock, self._books)
        return found

    def _ledger(self, layout: NodeLayout, mark: Mark, content: Content, slot: int) -> Iterator[bytes]:
        lines = []
        for account, row in zip(content.accounts, content.rows.tolist(), strict=True):
            fields = [
                f"{name}={value & LOW}i"
                for i, (name, value) in enumerate(zip(ROW, row, strict=True))
                if value or i >= _ALWAYS
            ]
            fields += [
                f"{name}{HIGH}={value >> LOW_BITS}i"
                for name, value in zip(ROW, row, strict=True)
                if value > LOW
            ]
            user = layout.users.get(account, "")
            series = Series("", mark.node, mark.clock, account=account, booking=booked_as(content.booking))
            head = self._head("ledger", series, user)
            lines.append(f"{head} {','.join(fields)} {slot}\n")
        if lines:
            yield "".join(lines).encode()

    def _above(self, layout: NodeLayout, mark: Mark, content: Content) -> Iterator[bytes]:
        """Return what does not fit below: no machine shows so much, but the contract lets it through."""
        for series, (times, values) in content.samples(layout, mark).items():
            if series.metric.endswith(HIGH) and not series.account:
                # Measurement and field make one name, wherever it is cut.
                thing, _, name = series.metric.partition("_")
                head = self._head(thing, series)
                rows = zip(times.tolist(), values.tolist(), strict=True)
                yield "".join(f"{head} {name}={value}i {time}\n" for time, value in rows).encode()

    def _head(self, thing: str, series: Series, user: str = "") -> str:
        names = ("account", "booking", "clock", "device", "domain", "node", "workload")
        tags = {"books": self._books, "user": user} | {name: getattr(series, name) for name in names}
        return ",".join([thing, *(f"{name}={tag(tags[name])}" for name in sorted(tags) if tags[name])])
