"""Members in the order of their paths."""

from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.workloads.column import Member
from joulebook.agent.workloads.roll import Roll
from joulebook.agent.workloads.workload import JOB, Workload

_PATHS = ["/a", "/a-b", "/a-b/c", "/a/b", "/a/b/c", "/a/c", "/a0", "/b"]


@given(st.lists(st.tuples(st.sampled_from(_PATHS), st.booleans())))
def test_roll_is_what_sorting_gives(changes: list[tuple[str, bool]]) -> None:
    """Whatever comes, goes or is replaced: members are in order, and those below a path are found."""
    roll, there = Roll(), dict[str, Member]()
    for path, comes in changes:
        there.pop(path, None)
        if comes:
            there[path] = Member(Workload(path, JOB, "s"), path=path)
        roll.change(path, there.get(path))
    assert [id(member) for member in roll.members] == [id(there[path]) for path in sorted(there)]
    for path in ("", *_PATHS):
        within = [each for each in sorted(there) if each == path or each.startswith(f"{path}/")]
        assert [member.path for member in roll.at_or_below(path)] == within
