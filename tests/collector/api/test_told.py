"""What is told of jobs is taken whole or refused with the place, the value and what was expected."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.api.told import MAX_JOBS, parse_told
from joulebook.collector.queries.errors import BadValueError
from joulebook.collector.store.scheduled import Scheduled

NOW_US = 1_790_000_000_000_000


def told(*jobs: Any) -> bytes:
    return json.dumps({"jobs": jobs}).encode()


def test_everything_that_can_be_told() -> None:
    """Each field is taken; times in any of the API's forms, nulls as if they were not there."""
    found = parse_told(
        told(
            {
                "job": "slurm.42", "known_as": "40_2", "user": "ada", "account": "chem", "partition": "gpu",
                "name": "é", "owner": "Job/é", "state": "RUNNING", "node_count": 2, "cpus": 0.064, "gpus": 0,
                "gpu_parts": "mig-1g:2",
                "memory_bytes": 1 << 40,
                "submit": "2026-09-21T14:13:20Z", "start": 1_790_000_001.25, "end": None, "exit_status": None,
            },
            {"job": "pbs.7", "end": "now", "exit_status": 271},
            {"job": "slurm.42", "user": "bob", "start": "-1m"},
        ),
        NOW_US,
    )  # fmt: skip
    assert found == {
        "slurm.42": Scheduled(
            "40_2", "bob", "chem", "gpu", "é", "Job/é", "RUNNING", 2, 64, 0, "mig-1g:2", 1 << 40,
            1_790_000_000_000_000, 1_789_999_940_000_000, told_us=NOW_US,
        ),
        "pbs.7": Scheduled(end_us=NOW_US, exit_status=271, told_us=NOW_US),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "field", "value"),
    [
        (b"", "body", ""),
        (b"\xff\xfe", "body", "\ufffd\ufffd"),
        (b"[" * 100_000, "body", "[" * 120 + "…"),
        (b"[]", "body", "[]"),
        (b'{"jobs": [], "x": 1}', "body", '{"jobs":[],"x":1}'),
        (b'{"jobs": {}}', "body", '{"jobs":{}}'),
        (told(*[{"job": "a"}] * (MAX_JOBS + 1)), "jobs", "1001 of them"),
        (told({"job": "a"}, 7), "jobs[1]", "7"),
        (told({"user": "ada"}), "jobs[0].job", "null"),
        (told({"job": ""}), "jobs[0].job", ""),
        (told({"job": "é"}), "jobs[0].job", "é"),
        (told({"job": "a\nb"}), "jobs[0].job", "a\nb"),
        (told({"job": "a" * 256}), "jobs[0].job", "a" * 120 + "…"),
        (told({"job": "a", "usr": "ada"}), "jobs[0]", "usr"),
        (told({"job": "a", "user": 7}), "jobs[0].user", "7"),
        (told({"job": "a", "user": "x\0"}), "jobs[0].user", "x\0"),
        (told({"job": "a", "name": "x" * 256}), "jobs[0].name", "x" * 120 + "…"),
        (told({"job": "a", "cpus": -1}), "jobs[0].cpus", "-1"),
        (told({"job": "a", "cpus": True}), "jobs[0].cpus", "true"),
        (told({"job": "a", "cpus": 1.5001}), "jobs[0].cpus", "1.5001"),
        (told({"job": "a", "memory_bytes": 1 << 51}), "jobs[0].memory_bytes", str(1 << 51)),
        (told({"job": "a", "exit_status": 1 << 31}), "jobs[0].exit_status", str(1 << 31)),
        (told({"job": "a", "end": "soon"}), "jobs[0].end", "soon"),
        (told({"job": "a", "end": -1}), "jobs[0].end", "-1"),
        (told({"job": "a", "end": 1e300}), "jobs[0].end", "1e300"),
        (told({"job": "a", "end": [1]}), "jobs[0].end", "[1]"),
    ],
)  # fmt: skip
def test_refusals(raw: bytes, field: str, value: str) -> None:
    """A refusal names the field, by its place, and the value; nothing of the request is taken."""
    with pytest.raises(BadValueError) as refused:
        parse_told(raw, NOW_US)
    assert (refused.value.field, refused.value.value) == (field, value)


def test_a_field_that_is_nearly_one_is_suggested() -> None:
    """Who mistypes is told what was meant."""
    with pytest.raises(BadValueError, match="did you mean 'partition'"):
        parse_told(told({"job": "a", "partitoin": "x"}), NOW_US)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(["job", "user", "cpus", "start", "end", "exit_status", "x"])


@given(st.binary() | st.lists(_JSON | st.dictionaries(_NAMES, _JSON)).map(lambda jobs: told(*jobs)))
def test_whatever_comes_is_taken_or_refused(raw: bytes) -> None:
    """Any bytes at all are facts that a store can keep, or a refusal in words."""
    try:
        found = parse_told(raw, NOW_US)
    except BadValueError:
        return
    for job, one in found.items():
        f"{job} {one}".encode()
        assert one.told_us == NOW_US
