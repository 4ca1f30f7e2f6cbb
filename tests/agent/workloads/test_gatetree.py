"""Which group speaks for which columns: the same whatever order they came and went in."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.workloads.column import CPU, FileColumn
from joulebook.agent.workloads.gates import Gate, Loose
from joulebook.agent.workloads.gatetree import Gates

_FILE = "/proc/self/stat"
_PATHS = [f"/{a}{b}{c}" for a in "ab" for b in ("", "/c", "/d", "/c-d") for c in ("", "/e", "/f", "/g")]


def _column(path: str = _FILE) -> FileColumn:
    return FileColumn(CPU, path, len, 64, base=0, fresh=False)


def _gates() -> Gates:
    return Gates(Loose([]), lambda path: Gate(_column(), []) if path != "/b" else None, 3)


def _spoken_for(gates: Gates, columns: dict[str, FileColumn]) -> dict[str, tuple[str, bool]]:
    """Return by path which group speaks for a column, and whether it is counted there."""
    names = {id(gate): path for path, gate in gates.by_path.items()}
    return {
        path: (names.get(id(gates.holder_of(column)), ""), gates._place(path)[1])
        for path, column in columns.items()
    }


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.sampled_from(_PATHS), unique=True, max_size=6), max_size=12))
def test_changes_lead_to_what_a_fresh_start_does(steps: list[list[str]]) -> None:
    """After columns came and went in any order, each is read by the group that a new tree would choose."""
    gates, columns = _gates(), dict[str, FileColumn]()
    for paths in steps:
        gone = [(path, columns.pop(path)) for path in paths if path in columns]
        came = [(path, _column()) for path in paths if path not in dict(gone)]
        columns |= dict(came)
        gates.change(gone, came)
        for _, column in gone:
            column.close()
    fresh = _gates()
    fresh.change([], sorted(columns.items()))
    assert gates.by_path.keys() == fresh.by_path.keys()
    assert _spoken_for(gates, columns) == _spoken_for(fresh, columns)
    # Each column, and each group, is read exactly once by what is around it.
    for tree in (gates, fresh):
        holders: list[Loose | Gate] = [tree.loose, *tree.by_path.values()]
        read = [child for holder in holders for child in holder.children()]
        assert len(read) == len(set(read)) == len(columns) + len(tree.by_path)
        tree.close()
    for column in columns.values():
        column.close()


def test_a_group_that_holds_another_is_counted_alone(tmp_path: Path) -> None:
    """What a group below a counted one uses is in that one's figure, and counted once."""
    gates = _gates()
    paths = ["/a/c", "/a/c/e", "/a/d", "/a/c-d"]
    for path in paths:
        (tmp_path / path.replace("/", "_")).write_text("")
    columns = [(path, _column(str(tmp_path / path.replace("/", "_")))) for path in paths]
    gates.change([], columns)
    assert {path: place[1] for path, place in _spoken_for(gates, dict(columns)).items()} == {
        "/a/c": True,
        "/a/c/e": False,
        "/a/d": True,
        "/a/c-d": True,
    }
    gates.change([columns[0]], [])
    assert _spoken_for(gates, dict(columns[1:]))["/a/c/e"] == ("/a", True)
    gates.close()
    for _, column in columns:
        column.close()
