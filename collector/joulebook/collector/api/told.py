"""What is told of jobs over HTTP: each field of it, checked and described in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from joulebook.collector.queries.errors import BadValueError, expected_name
from joulebook.collector.queries.times import MAX_UNIX_US, TIME_PATTERN, parse_time
from joulebook.collector.store.scheduled import Scheduled, merged

MAX_BYTES = 1 << 20
MAX_JOBS = 1000
# Of a name, in the books too.
_LONGEST = 255
_MOST = 1 << 50

_EXPECTED_ID = f"a job's id, 1 to {_LONGEST} printable ASCII characters: slurm.42"


class _Kind(NamedTuple):
    """How a value is checked, which raises ValueError saying what was expected, and described."""

    taken: Callable[[Any, int], Any]
    schema: Mapping[str, Any]


def _text(value: Any, _now_us: int) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise ValueError(f"text of up to {_LONGEST} printable characters")
    return value


def _count(value: Any, _now_us: int) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError(f"a whole number from 0 to {_MOST}")
    return value


def _thousandths(value: Any, _now_us: int) -> int:
    thousandths = Decimal(repr(value)) * 1000 if type(value) in (int, float) else Decimal(-1)
    if not (0 <= thousandths <= _MOST and thousandths % 1 == 0):
        raise ValueError(f"a number from 0 to {_MOST // 1000} with up to three decimals")
    return int(thousandths)


def _status(value: Any, _now_us: int) -> int:
    if type(value) is not int or not -(1 << 31) <= value < 1 << 31:
        raise ValueError("a whole number of 32 bits: 0, or why it failed")
    return value


def _time(value: Any, now_us: int) -> int:
    if type(value) in (int, float) and 0 <= value <= MAX_UNIX_US / 1_000_000:
        return int(Decimal(repr(value)) * 1_000_000)
    try:
        return parse_time("", value if isinstance(value, str) else "", now_us)
    except BadValueError as error:
        raise ValueError(error.expected) from None


_TEXT = _Kind(_text, {"type": ["string", "null"], "maxLength": _LONGEST})
_COUNT = _Kind(_count, {"type": ["integer", "null"], "minimum": 0, "maximum": _MOST})
_THOUSANDTHS = _Kind(
    _thousandths, {"type": ["number", "null"], "minimum": 0, "maximum": _MOST // 1000, "multipleOf": 0.001}
)
_TIME = _Kind(_time, {"anyOf": [{"type": "string", "pattern": TIME_PATTERN}, {"type": ["number", "null"]}]})
_FIELDS: dict[str, tuple[str, _Kind]] = {
    **{
        name: (name, _TEXT) for name in ("known_as", "user", "account", "partition", "name", "owner", "state")
    },
    "gpu_parts": ("gpu_parts", _TEXT),
    **{name: (name, _COUNT) for name in ("node_count", "gpus", "memory_bytes")},
    "cpus": ("millicpus", _THOUSANDTHS),
    **{name: (f"{name}_us", _TIME) for name in ("submit", "start", "end")},
    "exit_status": ("exit_status", _Kind(_status, {"type": ["integer", "null"]})),
}
_ID = "job"
_KNOWN = (_ID, *_FIELDS)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["jobs"],
    "properties": {
        "jobs": {
            "type": "array",
            "maxItems": MAX_JOBS,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": [_ID],
                "properties": {
                    _ID: {"type": "string", "pattern": "^[ -~]{1,255}$"},
                    **{name: kind.schema for name, (_, kind) in _FIELDS.items()},
                },
            },
        }
    },
}


def parse_told(raw: bytes, now_us: int) -> dict[str, Scheduled]:
    """Return what a request tells of jobs, in the order in which it tells it. Raises BadValueError."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        shown = raw[:200].decode(errors="replace")
        raise BadValueError(
            "body", shown, f'JSON like {{"jobs": [{{"job": "slurm.42"}}]}} ({error})'
        ) from None
    jobs = body.get("jobs") if isinstance(body, dict) and set(body) == {"jobs"} else None
    if not isinstance(jobs, list):
        raise BadValueError("body", _shown(body), 'an object with "jobs", a list, and nothing else')
    if len(jobs) > MAX_JOBS:
        raise BadValueError("jobs", f"{len(jobs)} of them", f"at most {MAX_JOBS} at a time")
    found: dict[str, Scheduled] = {}
    for place, told in enumerate(jobs):
        job, one = _job(f"jobs[{place}]", told, now_us)
        found[job] = merged(found.get(job), one)
    return found


def _job(place: str, told: Any, now_us: int) -> tuple[str, Scheduled]:
    if not isinstance(told, dict):
        raise BadValueError(place, _shown(told), "an object")
    job = told.get(_ID)
    fits = isinstance(job, str) and 1 <= len(job) <= _LONGEST and job.isascii() and job.isprintable()
    if not fits:
        raise BadValueError(f"{place}.{_ID}", _shown(job), _EXPECTED_ID)
    said: dict[str, Any] = {}
    for name, value in told.items():
        if name not in _KNOWN:
            raise BadValueError(place, name, expected_name(f"one of {', '.join(_KNOWN)}", name, _KNOWN))
        if name != _ID and value is not None:
            field, kind = _FIELDS[name]
            try:
                said[field] = kind.taken(value, now_us)
            except ValueError as error:
                raise BadValueError(f"{place}.{name}", _shown(value), str(error)) from None
    return str(job), Scheduled(**said, told_us=now_us)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
