"""How questions are put to a server of each version.

InfluxDB 1 and 2 are asked several at once; 2 finds buckets by the mapping of database and retention policy.
InfluxDB 3 answers one in a request, asked by GET; a retention policy there is a part of a database's name,
and a tag that a series lacks is left out of its answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

_GROUP = r'(?:"(\w+)"|time\([^()]*\))'
_GROUPED = re.compile(rf" GROUP BY ({_GROUP}(?:, {_GROUP})*)(?: fill\(none\))?$")
_TAG = re.compile(r'"(\w+)"')


@dataclass(frozen=True, slots=True)
class Question:
    """A request: its first statement's number, and the tags that each series of its answer has."""

    method: str
    parameters: str
    first: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()


def questions(
    version: str, database: str, policies: Sequence[str], statements: Sequence[str]
) -> Iterator[Question]:
    """Put statements, of measurements in a database or in one of its policies, to a server of a version."""
    if version.startswith("3"):
        for number, statement in enumerate(statements):
            yield _third(database, policies, number, statement)
        return
    asked = "; ".join(statements)
    if version.lstrip("v").startswith("2"):
        parameters = urlencode({"db": database, "epoch": "u"})
        yield Question(
            "POST", parameters, body=asked.encode(), headers={"Content-Type": "application/vnd.influxql"}
        )
        return
    parameters = urlencode({"db": database, "epoch": "u", "chunked": "true"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    yield Question("POST", parameters, body=urlencode({"q": asked}).encode(), headers=form)


def _third(database: str, policies: Sequence[str], number: int, statement: str) -> Question:
    # Nothing that a user named is before FROM.
    chosen, _, rest = statement.partition(" FROM ")
    for policy in policies:
        if rest.startswith(f'"{policy}".'):
            database, rest = f"{database}/{policy}", rest.removeprefix(f'"{policy}".')
    asked = {"db": database, "epoch": "u", "chunked": "true", "q": f"{chosen} FROM {rest}"}
    grouped = _GROUPED.search(statement)
    tags = _TAG.findall(grouped[1]) if grouped else []
    return Question("GET", urlencode(asked), number, tags=tags)
