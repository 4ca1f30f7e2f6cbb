"""The Reports of a range, and the gaps between them: a function of the set of marks, as it is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from joulebook.collector.facts.mark import Mark
from joulebook.collector.ingest.decode import MAX_INTERVAL_US
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.influxdb_http import InfluxServer, literal
from joulebook.collector.store.influxdb_lines import tagged
from joulebook.collector.store.influxdb_marks import FIELDS, marks_in
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.window import Window, gap_of

# How far back most Reports' forerunners are: the rest are asked for one by one.
_BEHIND_US = 900_000_000
# The server counts ns in 63 bits.
_LAST_US = 9_223_372_036_854_775
# Statements in one question.
_AT_ONCE = 50
# Nodes in the condition of one question.
_NAMED = 200
BY_MARK = 'GROUP BY "node", "boot", "clock"'


def where(from_us: int, to_us: int, node: str | None = None) -> str:
    """Return the condition of a range: after from_us and not after to_us."""
    condition = f"time > {max(from_us, -_LAST_US)}u AND time <= {min(to_us, _LAST_US)}u"
    return condition if node is None else f'{condition} AND "node" = {literal(tagged(node))}'


def among(nodes: Collection[str] | None) -> str:
    """Return the rest of a condition: of one node or more, where they are not too many to name."""
    if nodes is None or len(nodes) > _NAMED:
        return ""
    return " AND (" + " OR ".join(f'"node" = {literal(tagged(node))}' for node in sorted(nodes)) + ")"


def read_window(server: InfluxServer, selected: Range, layout: Callable[[str, int], NodeLayout]) -> Window:
    """Read a range's marks, and those around it that gaps are told by."""
    from_us, to_us = max(selected.from_us, -_LAST_US), min(selected.to_us, _LAST_US)
    first_us, last_us = from_us - _BEHIND_US, to_us + MAX_INTERVAL_US
    around = where(first_us, last_us, selected.node)
    (found,) = server.query(
        f'SELECT {FIELDS} FROM "report" WHERE {around} AND "start_unix_us" <= {to_us} {BY_MARK}'
    )
    marks = marks_in(found)
    by_boot: dict[tuple[str, bytes], list[Mark]] = defaultdict(list)
    for mark in marks:
        by_boot[mark.node, mark.boot].append(mark)
    pairs: list[tuple[Mark, Mark]] = []
    alone: list[tuple[Mark | None, Mark]] = []
    for own in by_boot.values():
        own.sort(key=lambda m: m.start_us)
        for i, after in enumerate(own):
            if not from_us < after.start_unix_us <= to_us:
                continue
            if i and own[i - 1].end_us == after.start_us:
                pairs.append((own[i - 1], after))
            else:
                # What does not meet may have a neighbour that is not among these: the wall clock was set.
                alone.append((own[i - 1] if i else None, after))
    known = {mark.name for mark in marks}

    def came_later(mark: Mark) -> bool:
        asked = first_us < mark.end_unix_us <= last_us and mark.start_unix_us <= to_us
        return asked and mark.name not in known

    pairs += _forerunners(server, alone, came_later, (first_us, to_us))
    inside = [mark for mark in marks if from_us < mark.end_unix_us <= to_us]
    inside.sort(key=lambda m: (m.node, m.end_unix_us, m.end_us))
    return Window(inside, [gap for gap in (gap_of(*pair, layout) for pair in pairs) if gap is not None])


def _forerunners(
    server: InfluxServer,
    alone: Sequence[tuple[Mark | None, Mark]],
    came_later: Callable[[Mark], bool],
    asked_us: tuple[int, int],
) -> list[tuple[Mark, Mark]]:
    """Return each mark with the one before it on the boot clock, where there is one.

    What is stored while this is asked counts nowhere, or a gap would end at it and its energy be missing.
    """
    pairs, again = [], []
    nearest = _answered(server, [_before(mark) for _, mark in alone])
    for (seen, mark), before in zip(alone, nearest, strict=True):
        # One that is half there is none yet.
        if came_later(before) if before else seen:
            again.append((seen, mark))
        elif before:
            pairs.append((before, mark))
    # One that was seen, or one that the range's question did not reach, on either side.
    first_us, to_us = asked_us
    behind = _answered(server, [_before(mark, f"time <= {first_us}u") for _, mark in again])
    beyond = _answered(
        server, [_before(mark, f'time > {to_us}u AND "start_unix_us" > {to_us}') for _, mark in again]
    )
    for (seen, mark), *others in zip(again, behind, beyond, strict=True):
        candidates = [other for other in (seen, *others) if other is not None]
        if candidates:
            pairs.append((max(candidates, key=lambda m: m.start_us), mark))
    return pairs


def _before(mark: Mark, condition: str = "") -> str:
    return nearest_before(mark.node, mark.boot, "start_us", mark.start_us, condition)


def _answered(server: InfluxServer, questions: Sequence[str]) -> list[Mark | None]:
    """Return the mark that each question finds."""
    answers: list[Mark | None] = []
    for begin in range(0, len(questions), _AT_ONCE):
        for found in server.query(*questions[begin : begin + _AT_ONCE]):
            answers.append(next(iter(marks_in(found)), None))
    return answers


def of_boot(node: str, boot: bytes) -> str:
    """Return the condition of a boot's marks."""
    return f'"node" = {literal(tagged(node))} AND "boot" = {literal(boot.hex())}'


def nearest_before(node: str, boot: bytes, field: str, at_us: int, condition: str = "") -> str:
    """Ask for the mark whose field is the largest below a time of the boot clock, under a condition."""
    beside = f" AND {condition}" if condition else ""
    return _nearest("max", field, f'{of_boot(node, boot)} AND "{field}" < {at_us}{beside}')


def nearest_after(node: str, boot: bytes, field: str, at_us: int) -> str:
    """Ask for the mark whose field is the smallest above a time of the boot clock."""
    return _nearest("min", field, f'{of_boot(node, boot)} AND "{field}" > {at_us}')


def _nearest(selector: str, field: str, condition: str) -> str:
    # A selector brings the other fields of its point along.
    chosen = FIELDS.replace(f'"{field}"', f'{selector}("{field}") AS "{field}"')
    return f'SELECT {chosen}, "clock" FROM "report" WHERE {condition} GROUP BY "node", "boot"'


def newest() -> str:
    """Ask for each boot's mark that ends last on its boot clock."""
    return _nearest("max", "end_us", "time <= 9223372036854775u")
