"""Counters of the kernel and of servers, made such that they never fall and never jump absurdly."""

from collections.abc import Sequence

from joulebook.agent.source import SUSPECT, WORKING, Finding

S = 1_000_000
# So many doubtful readings within a minute are more than one thing that began again.
_MANY = 5
_MINUTE_US = 60 * S
# A reason may quote what was read.
_MOST_REASON = 300
# What the contract's numbers can carry, with room to grow.
_MOST_RAW = 1 << 62


class Trouble:
    """Readings of one thing that could not be had or believed: counted, with the last one's reason."""

    __slots__ = ("_began_us", "_recent", "_said_us", "_suspect", "_told", "count", "name", "reason")

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.reason = ""
        self._began_us = 0
        self._recent = 0
        self._suspect = False
        self._told = 0
        self._said_us = -_MINUTE_US

    def add(self, reason: str, now_us: int) -> None:
        """Count one."""
        if now_us - self._began_us > _MINUTE_US:
            self._began_us, self._recent = now_us, 0
        self.count += 1
        self._recent += 1
        self.reason = reason[:_MOST_REASON]

    def finding(self, now_us: int) -> Finding | None:
        """Return how the thing stands, where there is something new to say; at most once a minute.

        A single one is told and no more. Where many come within a minute the thing is suspect, until a
        minute passes without any.
        """
        is_calm = now_us - self._began_us > _MINUTE_US
        suspect = not is_calm and (self._suspect or self._recent >= _MANY)
        if suspect == self._suspect and (self.count == self._told or now_us - self._said_us < _MINUTE_US):
            return None
        self._suspect, self._told, self._said_us = suspect, self.count, now_us
        told = f"readings dropped: {self.count}; the last: {self.reason}"
        if suspect:
            return Finding(self.name, SUSPECT, told, "look at what it reads; its last good values stand")
        return Finding(self.name, WORKING, told)


class Counters:
    """Raw counters of one thing that are read together, and what they counted since.

    values begins at the first reading. A reading in which a counter fell, or grew by more than its limit
    allows for the time, is dropped and kept as a candidate. Where the next reading goes on from the last
    believed one, nothing is lost. Where it goes on from the candidate, the counters began again: at 0 where
    they can have come from there, else at the candidate, and the step is not counted.
    """

    __slots__ = (
        "_at_us",
        "_candidate",
        "_candidate_us",
        "_is_shown",
        "_limits",
        "_raw",
        "trouble",
        "values",
    )

    def __init__(self, trouble: Trouble, limits_per_s: Sequence[int]) -> None:
        self.trouble = trouble
        self._limits = tuple(limits_per_s)
        self.values: tuple[int, ...] = (0,) * len(self._limits)
        self._raw: tuple[int, ...] | None = None
        self._is_shown = False
        self._at_us = 0
        self._candidate: tuple[int, ...] | None = None
        self._candidate_us = 0

    def take(self, raw: tuple[int, ...], now_us: int) -> tuple[int, ...]:
        """Take a reading, one number a limit; return values."""
        before = self._raw
        if before is None:
            if min(raw) < 0 or max(raw) > _MOST_RAW:
                return self.miss(f"{min(raw)} to {max(raw)}: expected 0 to {_MOST_RAW}", now_us)
            # Where something was shown already, what was counted before is not to come at once.
            if not self._is_shown:
                self.values = raw
        elif raw == before:
            self._at_us = now_us
            return self.values
        elif self._reached(before, raw, now_us - self._at_us):
            if self.values == before:
                self.values = raw
            else:
                self.values = _moved(self.values, before, raw)
        else:
            self._doubt(before, raw, now_us)
            return self.values
        self._raw, self._at_us, self._candidate = raw, now_us, None
        return self.values

    def miss(self, error: Exception | str, now_us: int) -> tuple[int, ...]:
        """Count a reading that could not be had; return values, which stand."""
        self._is_shown = True
        self.trouble.add(str(error) or type(error).__name__, now_us)
        return self.values

    def begin_again(self, raw: tuple[int, ...], now_us: int) -> tuple[int, ...]:
        """Go on from a reading that is not to be compared with the one before; return values, which stand."""
        self._raw, self._at_us, self._candidate = raw, now_us, None
        return self.values

    def _reached(self, before: tuple[int, ...], raw: tuple[int, ...], elapsed_us: int) -> bool:
        # Counters are written in steps, so two close readings may hold a whole step between them.
        allowed_us = max(elapsed_us, S)
        for old, new, limit in zip(before, raw, self._limits, strict=True):
            if not 0 <= (new - old) * S <= limit * allowed_us:
                return False
        return True

    def _doubt(self, before: tuple[int, ...], raw: tuple[int, ...], now_us: int) -> None:
        candidate = self._candidate
        if candidate is not None and self._reached(candidate, raw, now_us - self._candidate_us):
            nothing = (0,) * len(candidate)
            fell = any(new < old for old, new in zip(before, candidate, strict=True))
            from_zero = fell and self._reached(nothing, candidate, self._candidate_us - self._at_us)
            self.values = _moved(self.values, nothing if from_zero else candidate, raw)
            self._raw, self._at_us, self._candidate = raw, now_us, None
            return
        self._candidate, self._candidate_us = raw, now_us
        self.trouble.add(self._reason(before, raw, now_us), now_us)

    def _reason(self, before: tuple[int, ...], raw: tuple[int, ...], now_us: int) -> str:
        allowed_us = max(now_us - self._at_us, S)
        for number, (old, new, limit) in enumerate(zip(before, raw, self._limits, strict=True), start=1):
            if new < old:
                return f"counter {number} fell from {old} to {new}"
            if (new - old) * S > limit * allowed_us:
                return (
                    f"counter {number} grew by {new - old} in {allowed_us / S:g} s, expected {limit} a second"
                )
        return "unlike the last one"


def _moved(values: tuple[int, ...], before: tuple[int, ...], now: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(value + new - old for value, old, new in zip(values, before, now, strict=True))
