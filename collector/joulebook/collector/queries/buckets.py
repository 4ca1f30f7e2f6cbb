"""A range of time cut into steps."""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.collector.queries.errors import BadValueError

MAX_BUCKETS = 11_000
MINUTE_US, HOUR_US = 60_000_000, 3_600_000_000


@dataclass(frozen=True, slots=True)
class Buckets:
    """Steps from the beginning of (from_us, to_us]; the last may be shorter."""

    from_us: int
    to_us: int
    step_us: int

    @property
    def count(self) -> int:
        """Return how many there are."""
        return -(-(self.to_us - self.from_us) // self.step_us)

    @property
    def ends_s(self) -> list[float]:
        """Return where they end, in unix seconds."""
        ends = (self.from_us + (i + 1) * self.step_us for i in range(self.count))
        return [min(end, self.to_us) / 1e6 for end in ends]


def on_whole(from_us: int, to_us: int, step_us: int) -> tuple[int, int]:
    """Widen a range to whole hours or minutes where steps are whole hours or minutes."""
    unit_us = next((unit for unit in (HOUR_US, MINUTE_US) if step_us % unit == 0), 1)
    return from_us // unit_us * unit_us, -(-to_us // unit_us) * unit_us


def cut(from_us: int, to_us: int, step_us: int | None, *, suiting: int) -> Buckets:
    """Cut a range into steps; None: whole seconds, so long that about as many as suiting come out.

    Longer ones are whole minutes, and of more than an hour whole hours. Raises BadValueError for a step that
    would make too many.
    """
    if step_us is None:
        least_us = -(-(to_us - from_us) // suiting)
        unit_us = next((unit for unit in (HOUR_US, MINUTE_US) if least_us > unit), 1_000_000)
        step_us = max(1, -(-least_us // unit_us)) * unit_us
    found = Buckets(from_us, to_us, step_us)
    if found.count > MAX_BUCKETS:
        least = -(-(to_us - from_us) // MAX_BUCKETS)
        raise BadValueError(
            "step",
            f"{step_us / 1e6:g}s",
            f"at least {least / 1e6:.3f} s for this range: no more than {MAX_BUCKETS} steps",
        )
    return found
