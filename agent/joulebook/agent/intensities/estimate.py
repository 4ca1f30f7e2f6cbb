"""A Kalman filter of a few named unknowns, in plain Python: agents have no other arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence

# What lies this many deviations off is taken to be so much noisier than was thought.
_FARTHEST = 5.0
_MOST_VARIANCE = 1e12


class Estimate:
    """Means and covariance of unknowns, by name. What is added is at the end."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.mean: list[float] = []
        self.covariance: list[list[float]] = []

    def add(self, name: str, mean: float, deviation: float) -> None:
        """Begin with an unknown of which nothing was seen."""
        for row in self.covariance:
            row.append(0.0)
        self.covariance.append([0.0] * len(self.names) + [deviation**2])
        self.names.append(name)
        self.mean.append(mean)

    def forget(self, name: str) -> None:
        """Let go of an unknown."""
        place = self.names.index(name)
        del self.names[place], self.mean[place], self.covariance[place]
        for row in self.covariance:
            del row[place]

    @property
    def is_sound(self) -> bool:
        """Say whether means are finite and variances above 0: of absurd readings rounding may end that."""
        return all(map(math.isfinite, self.mean)) and all(
            0.0 < row[at] < _MOST_VARIANCE for at, row in enumerate(self.covariance)
        )

    def bound(self, place: int, least: float, most: float) -> None:
        """Keep a mean within what is possible."""
        self.mean[place] = min(max(self.mean[place], least), most)

    def loosen(self, place: int, deviation: float, most: float) -> None:
        """Let an unknown have moved by so much; no more is unknown of it than most, a deviation."""
        known = self.covariance[place][place]
        self.covariance[place][place] = max(known, min(known + deviation**2, most**2))

    def see(self, gradient: Sequence[tuple[int, float]], apart: float, variance: float) -> float:
        """Take an observation: how it follows unknowns by place, and how far it is from what they say.

        variance is its own. Returns the square of how far off it was, as a part of what was likely.
        """
        along = [sum([row[at] * by for at, by in gradient]) for row in self.covariance]
        likely = variance + sum([along[at] * by for at, by in gradient])
        off = apart * apart / likely
        likely = max(likely, apart * apart / _FARTHEST**2)
        gain = apart / likely
        self.mean = [mean + gain * each for mean, each in zip(self.mean, along, strict=True)]
        rows = zip(self.covariance, along, strict=True)
        self.covariance = [
            [value - by * other for value, other in zip(row, along, strict=True)] if by else row
            for row, by in [(row, each / likely) for row, each in rows]
        ]
        return off

    def sum_of(self, along: Sequence[tuple[int, float]]) -> tuple[float, list[float]]:
        """Return the variance of a sum of unknowns by so much each, and each one's covariance with it."""
        withs = [sum([self.covariance[at][other] * by for other, by in along]) for at, _ in along]
        return sum([by * each for (_, by), each in zip(along, withs, strict=True)]), withs
