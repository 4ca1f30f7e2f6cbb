"""What settlement adds to the ledger in InfluxDB, and which of it counts.

Rows of `ledger` stay as they were written live. What an account receives more or less in a Report, when its
hour is settled, is a row of `settled`: over a Report's accounts such rows are 0 for each class, so books
balance with them as without. They are written first, under a number; then one point of `settled_hour` a node
and hour says that they count, all at once. Another number is taken for what is not the same, so what is there
twice is there twice the same; where collectors met with different Reports in hand, an hour is as it was live.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from joulebook.collector.facts.mark import Mark
from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.figures import ENERGIES, FIGURES
from joulebook.collector.store.anew import HOUR_US, Rows
from joulebook.collector.store.influxdb_http import InfluxServer, Series, literal
from joulebook.collector.store.influxdb_ledger import EACH, SUMMED, SUMS
from joulebook.collector.store.influxdb_lines import line, tagged, untag
from joulebook.collector.store.influxdb_window import among, where
from joulebook.collector.store.protocol import Range

# A node's hour of the wall clock: what ended after it began, and not after it ended.
HourKey = tuple[str, int]
_COUNT = len(CLASSES)
# The buckets that hours are: the server's begin with their first moment.
BY_HOUR = "time(1h, 1u) fill(none)"


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which rows of `settled` count of a node's hour: their number, and what tells this set of Reports.

    reports: how many Reports the hour had. before: what told the sets that counted earlier.
    """

    booking: int
    set_: int
    reports: int
    policy: str
    before: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """Return it as one field, which is replaced as a whole."""
        earlier = ",".join(map(str, self.before))
        return f"{self.booking} {self.set_} {self.reports} {self.policy} {earlier}"

    @classmethod
    def of(cls, text: str) -> Pointer:
        """Read what text gave. Raises ValueError."""
        booking, set_, reports, policy, earlier = text.split(" ")
        before = tuple(int(one) for one in earlier.split(",") if one)
        return cls(int(booking), int(set_), int(reports), policy, before)


def set_of(marks: Sequence[Mark], policy: str) -> int:
    """Return what tells a set of Reports and a policy from any other, in 60 bits."""
    named = sorted(f"{m.boot.hex()} {m.start_us}" for m in marks)
    digest = hashlib.blake2b("\n".join([policy, *named]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 4


def pointer_line(node: str, hour: int, pointer: Pointer) -> bytes:
    """Return a pointer's point."""
    return line("settled_hour", {"node": node}, {"counts": pointer.text}, (hour + 1) * HOUR_US)


def read_pointers(
    server: InfluxServer, from_us: int, to_us: int, nodes: Collection[str] | None
) -> dict[HourKey, Pointer]:
    """Return the pointers of the hours that a range touches, of some nodes at least, or of all."""
    if nodes is not None and not nodes:
        return {}
    first_us, last_us = from_us // HOUR_US * HOUR_US, -(-to_us // HOUR_US) * HOUR_US
    (found,) = server.query(
        f'SELECT "counts" FROM "settled_hour" WHERE {where(first_us, last_us)}{among(nodes)} GROUP BY "node"'
    )
    return {
        (untag(series.tags["node"]), row["time"] // HOUR_US - 1): Pointer.of(row["counts"])
        for series in found
        for row in series.rows()
    }


def difference(was: Rows, now: Rows) -> Rows:
    """Return what each account of a Report receives more, of whom anything is another then."""
    nothing = (0,) * len(FIGURES)
    found = {}
    for account in was.keys() | now.keys():
        more = zip(now.get(account, nothing), was.get(account, nothing), strict=True)
        row = tuple(a - b for a, b in more)
        # Who has a row only now is observed from now on.
        if any(row) or account not in was:
            found[account] = row
    return found


def settled_lines(
    marks: Sequence[Mark], live: Sequence[Rows], more: Sequence[Rows], booking: int, set_: int
) -> Iterator[bytes]:
    """Return the rows' points, a Report's in one piece. No field is left out: a later row replaces all."""
    for mark, was, rows in zip(marks, live, more, strict=True):
        length_us = mark.end_us - mark.start_us
        lines = []
        for account, row in sorted(rows.items()):
            fields: dict[str, int | str] = dict(zip(SUMS, row, strict=False))
            fields["duration_us"] = 0 if account in was else length_us
            fields |= {"start_unix_us": mark.end_unix_us - length_us, "end_unix_us": mark.end_unix_us}
            tags = {"account": account, "booking": str(booking), "clock": mark.clock, "node": mark.node}
            lines.append(line("settled", tags, fields | {"set": set_}, mark.end_unix_us))
        if lines:
            yield b"".join(lines)


def read_added(
    server: InfluxServer, selected: Range, pointers: Mapping[HourKey, Pointer]
) -> list[tuple[HourKey, str, dict[str, int]]]:
    """Return what accounts received more in a range, by node's hour, of rows that count.

    Where not all rows of an hour are the pointer's, or they are not 0 together, none of it is taken.
    """
    hours = [hour for _, hour in pointers]
    if not hours:
        return []
    from_us = max(selected.from_us, min(hours) * HOUR_US)
    to_us = min(selected.to_us, (max(hours) + 1) * HOUR_US)
    own = "" if selected.account is None else f' AND "account" = {literal(tagged(selected.account))}'
    (found,) = server.query(
        f'SELECT {SUMMED}, min("set") AS "least", max("set") AS "most" FROM "settled" '
        f'WHERE {where(from_us, to_us, selected.node)}{own} GROUP BY "account", "node", "booking", {BY_HOUR}'
    )
    by_hour: dict[HourKey, list[tuple[str, dict[str, int]]]] = defaultdict(list)
    mixed: set[HourKey] = set()
    for series in found:
        node, account, booking = (series.tags[name] for name in ("node", "account", "booking"))
        for row in series.rows():
            key = (untag(node), (row["time"] - 1) // HOUR_US)
            pointer = pointers.get(key)
            if pointer is None or pointer.booking != int(booking):
                continue
            if not row["least"] == row["most"] == pointer.set_:
                mixed.add(key)
            by_hour[key].append((untag(account), row))
    if selected.account is None:
        mixed |= {key for key, rows in by_hour.items() if not balanced(row for _, row in rows)}
    return [(key, *one) for key, rows in by_hour.items() if key not in mixed for one in rows]


def pointed_hours(server: InfluxServer, from_us: int, to_us: int) -> list[int]:
    """Return the hours of a range of which any node has a pointer."""
    (found,) = server.query(
        f'SELECT count("counts") FROM "settled_hour" WHERE {where(from_us, to_us)} GROUP BY {BY_HOUR}'
    )
    return [(row["time"] - 1) // HOUR_US for series in found for row in series.rows()]


def unsound_hours(server: InfluxServer, from_us: int, to_us: int) -> set[HourKey]:
    """Return the hours of a range in which not all rows are the pointer's, so that none of them counts."""
    if not (pointers := read_pointers(server, from_us, to_us, None)):
        return set()
    (found,) = server.query(
        'SELECT min("set") AS "least", max("set") AS "most" FROM "settled" '
        f'WHERE {where(from_us, to_us)} GROUP BY "node", "booking", {BY_HOUR}'
    )
    unsound = set()
    for series in found:
        node, booking = untag(series.tags["node"]), int(series.tags["booking"])
        for row in series.rows():
            key = (node, (row["time"] - 1) // HOUR_US)
            pointer = pointers.get(key)
            if pointer is None or pointer.booking != booking:
                continue
            if not row["least"] == row["most"] == pointer.set_:
                unsound.add(key)
    return unsound


def balanced(rows: Iterator[dict[str, int]]) -> bool:
    """Return whether what accounts receive more is 0 together, for each class."""
    sums = [
        sum(column) for column in zip(*([row[name] or 0 for name in ENERGIES] for row in rows), strict=True)
    ]
    # What of a class was caused and what is floor is told apart anew.
    return not any(active + idle for active, idle in zip(sums[:_COUNT], sums[_COUNT:], strict=True))


# node, clock, time, account
RowKey = tuple[str, str, int, str]


def read_each(
    server: InfluxServer, selected: Range, pointers: Mapping[HourKey, Pointer]
) -> dict[RowKey, dict[str, int]]:
    """Return the rows that count of a range, one by one, of hours of which all are the pointer's."""
    hours = [hour for _, hour in pointers]
    if not hours:
        return {}
    from_us = max(selected.from_us, min(hours) * HOUR_US)
    to_us = min(selected.to_us, (max(hours) + 1) * HOUR_US)
    (found,) = server.query(
        f'SELECT {EACH}, "set" FROM "settled" WHERE {where(from_us, to_us, selected.node)} '
        'GROUP BY "account", "node", "booking", "clock"'
    )
    by_report: dict[tuple[str, str, int], dict[str, dict[str, int]]] = defaultdict(dict)
    for series in found:
        for key, row in _counting(series, pointers):
            by_report[key][untag(series.tags["account"])] = row
    # A Report whose rows are not 0 together is as it was live, and so is all of its hour.
    odd = {
        (node, (at_us - 1) // HOUR_US)
        for (node, _, at_us), rows in by_report.items()
        if not balanced(iter(rows.values()))
    }
    return {
        (*key, account): row
        for key, rows in by_report.items()
        if (key[0], (key[2] - 1) // HOUR_US) not in odd
        for account, row in rows.items()
    }


def _counting(
    series: Series, pointers: Mapping[HourKey, Pointer]
) -> Iterator[tuple[tuple[str, str, int], dict[str, int]]]:
    node, clock = untag(series.tags["node"]), series.tags.get("clock", "")
    for row in series.rows():
        pointer = pointers.get((node, (row["time"] - 1) // HOUR_US))
        if pointer and (pointer.booking, pointer.set_) == (int(series.tags["booking"]), row["set"]):
            yield (node, clock, row["time"]), row
