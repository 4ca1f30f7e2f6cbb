"""Up to when a store's books are settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settled:
    """Up to when all Reports are booked with what their hours tell together.

    until_us: those of all nodes that ended up to then; 0 where none are. waiting_us: of nodes that have
    others, when the first one ended.
    """

    until_us: int = 0
    waiting_us: Mapping[str, int] = field(default_factory=dict)

    def has(self, node: str, unix_us: int) -> bool:
        """Return whether all that a node reported up to a time is settled."""
        return unix_us <= self.until_us and unix_us < self.waiting_us.get(node, unix_us + 1)
