"""Lists with a line a row: what gives way where a terminal is narrow, and nothing where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import click
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from joulebook.cli.terminal import printable

_ELLIPSIS = "…"
_BETWEEN = "  "
# Without a terminal a longer cell stands out of its column, and does not make all lines as long.
_MOST_PADDED = 64


def at_end(text: str, width: int) -> str:
    """Cut text at its end."""
    return text if cell_len(text) <= width else _begin(text, width - 1) + _ELLIPSIS


def in_middle(text: str, width: int) -> str:
    """Cut text so that both of its ends are read: k8s.0a1b…6666."""
    if cell_len(text) <= width:
        return text
    end = _begin(text[::-1], (width - 1) // 2)[::-1]
    return _begin(text, width - 1 - cell_len(end)) + _ELLIPSIS + end


def before_last_word(text: str, width: int) -> str:
    """Cut what stands before the last word: n[0-3,7,… (64)."""
    list_, space, last = text.rpartition(" ")
    rest = width - cell_len(space + last)
    return f"{at_end(list_, rest)}{space}{last}" if list_ and rest > 1 else at_end(text, width)


def after_items(text: str, width: int) -> str:
    """Cut a list after whole items of it, and say how many are left out: a, b, +3."""
    if cell_len(text) <= width:
        return text
    items = text.split(", ")
    shorter = (", ".join([*items[:n], f"+{len(items) - n}"]) for n in range(len(items) - 1, 0, -1))
    more = f", +{len(items) - 1}" if len(items) > 1 else ""
    one = in_middle(items[0], width - len(more)) + more
    return next((each for each in shorter if cell_len(each) <= width), one)


def _begin(text: str, width: int) -> str:
    return set_cell_size(text, max(width, 0)).rstrip()


@dataclass(frozen=True)
class Column:
    """A column by its forms, each a cell a row: the whole one first, then ever shorter ones.

    least: so many cells of a terminal it keeps when it is cut; 0: it is not cut.
    """

    name: str
    forms: Sequence[Sequence[str]]
    right: bool = False
    least: int = 0
    cut: Callable[[str, int], str] = at_end

    @cached_property
    def cells(self) -> list[str]:
        """Return its head and its cells, safe for a terminal, in the form that it has now."""
        return [self.name, *map(printable, self.forms[0])]

    @cached_property
    def widest(self) -> int:
        """Return how wide it is uncut."""
        return max(map(cell_len, self.cells))

    def narrowest(self, least: int = 0) -> int:
        """Return how wide it is when it is cut, to no less than its least and another."""
        return min(self.widest, max(self.least, least) if self.least else self.widest)

    def shorter(self) -> Column:
        """Return it in its next form."""
        return Column(self.name, self.forms[1:], self.right, self.least, self.cut)


def lay_out(
    columns: Sequence[Column], width: int, *, shorten: Sequence[str] = (), leave_out: Sequence[str] = ()
) -> list[str]:
    """Return the head and a line a row, none wider than the terminal; the first column says what a row is.

    While lines are too wide, the columns of shorten take their next form, in this order. Then columns are cut
    to their least, the first one to no less than half the terminal. While that is too wide, the columns of
    leave_out take their next form, or are gone after their last one. When nothing is left to give way the
    widest of those that may be cut is cut further.
    """
    shown = _filled(columns)
    for name in shorten:
        if _total([each.widest for each in shown]) > width:
            shown = [each.shorter() if each.name == name else each for each in shown]
    for name in leave_out:
        if _total(_narrowest(shown, width)) > width:
            shown = [each.shorter() if each.name == name else each for each in shown]
            shown = [each for each in shown if each.forms]
    widths = _narrowest(shown, width)
    spare = width - _total(widths)
    widest = max(range(len(widths)), key=lambda n: (shown[n].least > 0, widths[n]))
    widths[widest] = max(widths[widest] + min(spare, 0), 1)
    lacking = [each.widest - least for each, least in zip(shown, widths, strict=True)]
    # What a row is comes first, then whatever little completes.
    for n in [0, *sorted(range(1, len(shown)), key=lacking.__getitem__)]:
        more = min(max(spare, 0), lacking[n])
        widths[n] += more
        spare -= more
    return [at_end(line, width) for line in _lines(shown, widths)]


def lay_out_whole(columns: Sequence[Column]) -> list[str]:
    """Return the head and a line a row, with nothing left out."""
    shown = _filled(columns)
    widths = [max(n for cell in each.cells if (n := cell_len(cell)) <= _MOST_PADDED) for each in shown]
    return _lines(shown, widths, whole=True)


def show_list(
    columns: Sequence[Column],
    *,
    wide: bool = False,
    shorten: Sequence[str] = (),
    leave_out: Sequence[str] = (),
) -> None:
    """Print a list: as wide as the terminal, and whole where there is none or wide says so."""
    if wide or not sys.stdout.isatty():
        lines = lay_out_whole(columns)
    else:
        lines = lay_out(columns, Console().width, shorten=shorten, leave_out=leave_out)
        lines.insert(1, "─" * max(map(cell_len, lines)))
    click.echo("\n".join(lines))


def _filled(columns: Sequence[Column]) -> list[Column]:
    """Return the first column, and those that have anything to show."""
    return [each for n, each in enumerate(columns) if not n or any(each.forms[0])]


def _narrowest(columns: Sequence[Column], width: int) -> list[int]:
    return [each.narrowest(0 if n else width // 2) for n, each in enumerate(columns)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_BETWEEN) * (len(widths) - 1)


def _lines(columns: Sequence[Column], widths: Sequence[int], *, whole: bool = False) -> list[str]:
    cells = [
        [_set(text if whole else column.cut(text, width), width, column.right) for text in column.cells]
        for column, width in zip(columns, widths, strict=True)
    ]
    return [_BETWEEN.join(row).rstrip() for row in zip(*cells, strict=True)]


def _set(text: str, width: int, right: bool) -> str:
    pad = " " * (width - cell_len(text))
    return pad + text if right else text + pad
