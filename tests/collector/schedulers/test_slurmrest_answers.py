"""What slurmrestd says becomes facts of jobs, in every version's form: as 22.05 said it, and as later do."""

from pathlib import Path

import pytest

from joulebook.collector.schedulers.slurmrest_answers import (
    NothingError,
    parse_accounting,
    parse_controller,
)
from joulebook.collector.store.scheduled import Scheduled

_SAID = Path(__file__).parents[2] / "fixtures/slurmrest"
NOW_US = 1_796_062_000_000_000
S = 1_000_000


def told(text: str) -> tuple[object, ...]:
    """Return the parts of a job that differ, by number, of the controller's answer of a version."""
    found = parse_controller((_SAID / text).read_bytes(), _All(), NOW_US)
    return tuple(
        (number, one.known_as, one.state, one.gpus, one.exit_status) for number, one in found.items()
    )


class _All(frozenset[str]):
    def __contains__(self, number: object) -> bool:
        return True


def test_a_controller_of_22_05() -> None:
    """Ids, state, allocation, times and how it ended are taken; an end that is only planned is not."""
    assert told("v0.0.38-controller.json") == (
        ("848000", "", "RUNNING", 1, None),
        ("848001", "", "FAILED", 0, 3),
        ("848002", "848002_7", "COMPLETED", 0, 0),
        ("848003", "", "FAILED", 0, 137),
        ("848004", "848004+0", "PENDING", None, None),
        ("848005", "848004+1", "PENDING", None, None),
    )
    answer = (_SAID / "v0.0.38-controller.json").read_bytes()
    assert parse_controller(answer, ("848002",), NOW_US) == {
        "848002": Scheduled(
            "848002_7", "nobody", "chem", "main", "sbatch", "", "COMPLETED", 1, 1000, 0, "", 50 << 20,
            1796061043 * S, 1796061045 * S, 1796061045 * S, 0, NOW_US,
        )
    }  # fmt: skip
    assert parse_controller(answer, ("848000",), NOW_US)["848000"].name == 'a"b\\c\\né'


def test_controllers_of_later_versions() -> None:
    """Numbers that may be unset, lists of states, codes with signals; GPUs by type and by device."""
    assert told("v0.0.39-controller.json") == (("1618871", "", "FAILED", 8, 3),)
    assert told("v0.0.40-controller.json") == (
        ("6080221", "6077609_41", "RUNNING", 0, None),
        ("333", "330+3", "COMPLETING", 3, None),
        ("334", "", "FAILED", 1, 137),
    )


def test_accounting() -> None:
    """Memory is in MiB there; 22.05 forgets how a job failed, which is then not known."""
    answer = (_SAID / "v0.0.38-accounting.json").read_bytes()
    found = parse_accounting(answer, ("2958400", "2958401", "2958402", "2958403", "2958405"), NOW_US)
    assert {
        number: (one.known_as, one.state, one.gpus, one.exit_status, one.end_us is None)
        for number, one in found.items()
    } == {
        "2958400": ("", "RUNNING", 1, None, True),
        "2958401": ("", "FAILED", None, None, False),
        "2958402": ("2958402_7", "COMPLETED", None, 0, False),
        "2958403": ("", "FAILED", None, 137, False),
        "2958405": ("2958404+1", "PENDING", None, None, True),
    }
    assert (found["2958402"].memory_bytes, found["2958402"].millicpus, found["2958402"].account) == (
        50 << 20,
        1000,
        "chem",
    )
    later = parse_accounting((_SAID / "v0.0.40-accounting.json").read_bytes(), ("26", "27"), NOW_US)
    assert (later["26"].gpus, later["26"].exit_status, later["26"].memory_bytes) == (2, 0, 9000 << 20)
    assert (later["27"].known_as, later["27"].exit_status) == ("20_7", 1)


def test_a_job_that_ran_again() -> None:
    """Of a requeued job its latest run counts, wherever it stands in the answer."""
    runs = [
        b'{"job_id": 1, "state": {"current": "%s"}, "time": {"submission": %d, "start": %d}}' % run
        for run in ((b"NODE_FAIL", 5, 6), (b"COMPLETED", 8, 9), (b"TIMEOUT", 5, 7))
    ]
    found = parse_accounting(b'{"jobs": [%s]}' % b",".join(runs), ("1",), NOW_US)
    assert found["1"].state == "COMPLETED"


def test_nothing_is_known() -> None:
    """A job that it does not know is no failure."""
    for number in (2017, 9003):
        with pytest.raises(NothingError):
            parse_controller(b'{"errors": [{"error_number": %d}], "jobs": []}' % number, ("1",), NOW_US)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "never says"),
        (b"[]", "Expected `object`"),
        (b'{"jobs": [{"job_id": "x"}]}', "Expected `int`"),
        (b'{"jobs": [{"job_id": 1, "submit_time": "soon"}]}', "submit_time"),
        (b'{"jobs": [{"job_id": 1, "tres_alloc_str": "cpu=x"}]}', "expected an amount"),
        (b'{"errors": [{"error_number": 1007, "error": "Protocol authentication error"}]}', "1007 .Protocol"),
    ],
)
def test_what_it_never_says_is_refused(said: bytes, why: str) -> None:
    """Its own words are passed on, and what is no answer is none."""
    with pytest.raises(ValueError, match=why):
        parse_controller(said, ("1",), NOW_US)
