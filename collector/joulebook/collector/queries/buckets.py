"""A range of time cut into steps."""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.collector.queries.errors import BadValueError

MAX_BUCKETS = 11_000
MINUTE_US, HOUR_US = 60_000_000, 3_600_000_000


@dataclass(frozen=True, slots=True)
class Buckets:
    """Steps of (from_us, to_us], counted from origin_us; the first and the last may be shorter."""

    from_us: int
    to_us: int
    step_us: int
    origin_us: int

    @property
    def count(self) -> int:
        """Return how many there are."""
        return -(-(self.to_us - self.origin_us) // self.step_us)

    @property
    def ends_s(self) -> list[float]:
        """Return where they end, in unix seconds."""
        ends = (self.origin_us + (i + 1) * self.step_us for i in range(self.count))
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
    found = Buckets(from_us, to_us, step_us, from_us)
    _check(found)
    return found


# Steps that divide what is above them, so that wide ones begin where narrow ones do.
_ROUND_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)


def aligned(from_us: int, to_us: int, step_us: int | None, *, suiting: int, multiple_us: int = 1) -> Buckets:
    """Cut a range where multiples of a step lie; None: a round one, so that at most suiting come out.

    Answers at different moments have the same steps then, and whole ones may be ready. A round one is a
    multiple of multiple_us, an hour at most. Raises BadValueError for a step that would make too many.
    """
    if step_us is None:
        least_s = -(-(to_us - from_us) // suiting) / 1e6
        days = -(-int(least_s) // 86_400) * 86_400
        fitting = (s for s in _ROUND_S if s >= least_s and s * 1_000_000 % multiple_us == 0)
        step_us = next(fitting, max(days, 86_400)) * 1_000_000
    found = Buckets(from_us, to_us, step_us, from_us // step_us * step_us)
    _check(found)
    return found


def _check(found: Buckets) -> None:
    if found.count > MAX_BUCKETS:
        least = -(-(found.to_us - found.from_us) // MAX_BUCKETS)
        raise BadValueError(
            "step",
            f"{found.step_us / 1e6:g}s",
            f"at least {least / 1e6:.3f} s for this range: no more than {MAX_BUCKETS} steps",
        )
