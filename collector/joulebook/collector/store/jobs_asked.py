"""Which jobs are asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobsAsked:
    """So many jobs, in order of (-start, name), after a place in it; those that all of the rest allows.

    A job's user and name are what its scheduler says, and else what the agent does; its account and partition
    are known of schedulers, and neither is asked for as "".
    """

    most: int
    after: tuple[int, str] | None = None
    node: str | None = None
    user: str | None = None
    account: str | None = None
    partition: str | None = None
    name: str | None = None
    among: Collection[str] | None = None
    but: Collection[str] = ()
