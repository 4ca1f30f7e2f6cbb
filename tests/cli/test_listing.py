"""Lists fit the terminal, and are whole where there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from joulebook.cli.listing import (
    Column,
    after_items,
    at_end,
    before_last_word,
    in_middle,
    lay_out,
    lay_out_whole,
)


@pytest.mark.parametrize(
    ("cut", "text", "width", "left"),
    [
        (at_end, "train bert", 10, "train bert"),
        (at_end, "train bert", 7, "train…"),
        (at_end, "漢字漢字", 6, "漢字…"),
        (at_end, "abc", 0, "…"),
        (in_middle, "k8s.0a1b2c3d-6666", 11, "k8s.0…-6666"),
        (in_middle, "slurm.1", 7, "slurm.1"),
        (in_middle, "漢字漢字漢字", 6, "漢…字"),
        (before_last_word, "n[0-3,7,9-11] (8)", 15, "n[0-3,7,9-… (8)"),
        (before_last_word, "n[0-3,7,9-11] (8)", 17, "n[0-3,7,9-11] (8)"),
        (before_last_word, "a-long-host", 6, "a-lon…"),
        (before_last_word, "n[0-3] (1000)", 7, "n[0-3]…"),
        (after_items, "idle 3 W, job:a 2 W, agent 1 W", 30, "idle 3 W, job:a 2 W, agent 1 W"),
        (after_items, "idle 3 W, job:a 2 W, agent 1 W", 24, "idle 3 W, job:a 2 W, +1"),
        (after_items, "job:k8s.0a1b2c3d 3 W, idle 3 W", 17, "job:k8…3d 3 W, +1"),
        (after_items, "job:k8s.0a1b2c3d", 9, "job:…2c3d"),
    ],
)
def test_what_is_cut_says_so(cut: object, text: str, width: int, left: str) -> None:
    """An ellipsis or a number stands for what is left out; what says most is kept."""
    assert callable(cut)
    assert cut(text, width) == left


def columns(ids: list[str], names: list[str]) -> list[Column]:
    return [
        Column("job", [ids], least=8, cut=in_middle),
        Column("name", [names], least=4),
        Column("nodes", [["n[0-63] (64)"] * len(ids), ["64"] * len(ids)]),
        Column("energy", [["1.000 kJ"] * len(ids)], right=True),
    ]


ORDER = ("nodes", "nodes", "name")


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (39, ["job      name   nodes           energy", "slurm.1  train  n[0-63] (64)  1.000 kJ"]),
        (37, ["job      name  nodes           energy", "slurm.1  tra…  n[0-63] (64)  1.000 kJ"]),
        (36, ["job      name   nodes    energy", "slurm.1  train  64     1.000 kJ"]),
        (25, ["job      name     energy", "slurm.1  train  1.000 kJ"]),
        (22, ["job        energy", "slurm.1  1.000 kJ"]),
        (16, ["job       energy", "slu….1  1.000 kJ"]),
        (9, ["…    ene…", "…  1.000…"]),
    ],
)
def test_columns_give_way_in_order(width: int, lines: list[str]) -> None:
    """Names are cut first, then columns are shorter and gone in their order, and ids are cut last."""
    assert lay_out(columns(["slurm.1"], ["train"]), width, leave_out=ORDER) == lines


def test_shorter_forms_come_before_cuts() -> None:
    """What shortens without loss to speak of does so before a name is cut."""
    made = [
        Column("job", [["a"]]),
        Column("name", [["b" * 9]], least=4),
        Column("at", [["12:00:00"], ["12:00"]]),
    ]
    assert lay_out(made, 21, shorten=("at",))[1] == "a    bbbbbbbbb  12:00"


def test_columns_of_nothing_are_left_out() -> None:
    """Who has no scheduler has no use for its columns; the first one is there in any case."""
    assert lay_out(columns(["a", "b"], ["", ""]), 80)[0].split() == ["job", "nodes", "energy"]
    assert lay_out_whole(columns([], [])) == ["job"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), st.integers(1, 260))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str]], width: int) -> None:
    """Whatever names and ids hold, there is a line a row that fits and drives no terminal."""
    ids, names = map(list, zip(*rows, strict=True))
    lines = lay_out(columns(ids, names), width, leave_out=ORDER)
    assert len(lines) == 1 + len(rows)
    assert all(line.isprintable() for line in lines)
    assert all(cell_len(line) <= width for line in lines)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_whole_lines_lose_nothing(rows: list[tuple[str, str]]) -> None:
    """Without a terminal a line has all that is shown of its row, whatever is in it."""
    ids, names = map(list, zip(*rows, strict=True))
    lines = lay_out_whole(columns(ids, names))
    assert len(lines) == 1 + len(rows)
    for line, own in zip(lines[1:], rows, strict=True):
        assert all("".join(c if c.isprintable() else "�" for c in text) in line for text in own)
        assert line.endswith("n[0-63] (64)  1.000 kJ")
