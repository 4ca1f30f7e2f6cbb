"""What an InfluxDB server's refusal means: of versions 1, 2 and 3, by their own words.

The words are those of InfluxDB 1's source, and of the pages "Troubleshoot issues writing data" of version 2
and "Use the v3 write_lp API to write data" of version 3.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from joulebook.collector.store.protocol import BeyondRetentionError, LinesRefusedError, StoreError

_MOST = 500
# Versions 1 and 2, then 3.
_CONFLICTS = (
    re.compile(
        r'input field "(?P<field>.*?)" on measurement "(?P<measurement>.*?)" is type (?P<ours>\w+), '
        r"already exists as type (?P<theirs>\w+)"
    ),
    re.compile(
        r"column '(?P<field>.*?)', expected iox::column_type::field::(?P<theirs>\w+), "
        r"got iox::column_type::field::(?P<ours>\w+)"
    ),
)
_ADVICE = (
    ("not found", ("database", "retention policy", "bucket"), "make it with `joulebook store setup`"),
    ("not found", ("organization",), "name it in the store's address, ?org=NAME"),
)
_OTHERWISE = "nothing was acknowledged, its log may say more"
_CREDENTIALS = (
    "expected credentials in collector.store_credentials, user:password of InfluxDB 1, a token of 2 and 3"
)
_BY_STATUS = {
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    429: "it is busy; nothing was acknowledged, and all of it is sent again",
    503: "it is busy; nothing was acknowledged, and all of it is sent again",
}
# A request that was understood, of which lines were not taken.
_UNTAKEN = (400, 413, 422)


def refusal(where: str, status: int | None, answer: str) -> Exception:
    """Return the error that a server's answer stands for, naming the lines that it named."""
    said, lines = message(answer)
    if "points beyond retention policy" in said:
        return BeyondRetentionError(f"{where}: older than the database keeps ({said})")
    if conflict := next(filter(None, (pattern.search(said) for pattern in _CONFLICTS)), None):
        return StoreError(f"{where}: {_conflict(conflict.groupdict())} (nothing was acknowledged; {said})")
    for words, places, advice in _ADVICE:
        if words in said and any(place in said for place in places):
            return StoreError(f"{where}: {said}; {advice}")
    if status in _UNTAKEN:
        return LinesRefusedError(f"{where}: {status} {said}; {_OTHERWISE}", max(lines, 1))
    return StoreError(f"{where}: {status} {said}; {_BY_STATUS.get(status or 0, _OTHERWISE)}")


def _conflict(named: dict[str, str]) -> str:
    of = f" of {named['measurement']!r}" if named.get("measurement") else ""
    return (
        f"field {named['field']!r}{of} is {named['theirs']} there, expected {named['ours']}: something else "
        "writes it; give joulebook a database of its own"
    )


def message(answer: str) -> tuple[str, int]:
    """Return an error document in words, with the first line that it names, and how many it names."""
    try:
        body = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return answer.strip()[:_MOST], 0
    if not isinstance(body, dict):
        return answer[:_MOST], 0
    said = str(body.get("error") or body.get("message") or answer)
    named = body.get("data")
    # Of a partial write version 3 names every line, of one that it took nothing of the first.
    lines = named if isinstance(named, list) else [named] if isinstance(named, dict) else []
    lines = [line for line in lines if isinstance(line, dict)]
    if lines:
        said += f": {_line(lines[0])}" + (f", and {len(lines) - 1} more" if len(lines) > 1 else "")
    return said[:_MOST], len(lines)


def _line(named: dict[str, Any]) -> str:
    number, why = named.get("line_number", "?"), named.get("error_message", "")
    return f"line {number}, {str(named.get('original_line', ''))[:200]!r}: {why}"
