"""What a part of a machine shows in stretches in which no job changes: means, and how it moves about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# Of a stretch's accounts as many are told apart by how use moves within it, those whose use moves most.
_MOST_MOVING = 16
# As many ticks tell a noise.
_FEWEST_FREE = 8


class Stretches:
    """Stretches of ticks, cut where any account's phase changes.

    phase has each account's in each stretch (accounts, stretches), -1: none; use and power_w are means.
    Within a stretch moves are sums over its ticks, in s, of products of deviations from the means: of the use
    of those that move (moving: their accounts, (stretches, places), -1: none) with each other and with power,
    and of power with itself. booked_w is the mean of what is not negative: what was drawn below the floor is
    nobody's. idle_noise is the variance of a second's power of the idle machine, W² s.
    """

    def __init__(self, interval_s: Floats, active_w: Floats, use: Floats, phase: Ints) -> None:
        changes = np.flatnonzero((np.diff(phase, axis=1) != 0).any(axis=0)) + 1
        self.begins = np.concatenate([[0], changes])
        self.count = len(self.begins)
        self.length_s = np.add.reduceat(interval_s, self.begins)
        self.phase = phase[:, self.begins]
        self.of_tick = np.repeat(np.arange(self.count), np.diff([*self.begins, len(interval_s)]))
        # How many ticks tell of moves.
        self.free = max(len(interval_s) - self.count, 1)

        def mean(values: Floats) -> Floats:
            return np.add.reduceat(values * interval_s, self.begins, axis=-1) / self.length_s

        self.use, self.power_w = mean(use), mean(active_w)
        self.booked_w = mean(np.maximum(active_w, 0.0))
        moved_w = active_w - self.power_w[self.of_tick]
        self.power_moves = np.add.reduceat(moved_w**2 * interval_s, self.begins)
        self.idle_noise = self._quietest()
        moved = use - self.use[:, self.of_tick]
        self._find_moves(moved * np.sqrt(interval_s), moved_w * np.sqrt(interval_s))

    def _quietest(self) -> float:
        """Return the noise of power, W² s, where least is used: that of the idle machine, if it was idle.

        Else that of the quietest stretch: what is busy is noisier than what is not.
        """
        free = np.bincount(self.of_tick) - 1
        use = self.use.sum(axis=0)
        idle = use <= use.min() + 1e-9
        if free[idle].sum() < _FEWEST_FREE:
            long = free >= min(_FEWEST_FREE, int(free.max()))
            return float((self.power_moves[long] / np.maximum(free[long], 1)).min())
        return float(self.power_moves[idle].sum() / free[idle].sum())

    def _find_moves(self, moved: Floats, moved_w: Floats) -> None:
        ends = np.append(self.begins[1:], len(moved_w))
        # Those that do not move are among them: what the others' moves do to power depends on them, too.
        own = np.where(self.phase >= 0, np.add.reduceat(moved**2, self.begins, axis=1), -1.0)
        places = min(_MOST_MOVING, max(int((own >= 0).sum(axis=0).max()), 1))
        shape = (self.count, places)
        self.moving = np.full(shape, -1, dtype=np.int64)
        self.moves, self.moves_with_power = np.zeros((*shape, places)), np.zeros(shape)
        for k, (begin, end) in enumerate(zip(self.begins.tolist(), ends.tolist(), strict=True)):
            if end - begin < 2:
                continue
            most = np.argsort(-own[:, k], kind="stable")[:places]
            most = most[own[most, k] >= 0]
            n, of = len(most), moved[most, begin:end]
            self.moving[k, :n] = most
            self.moves[k, :n, :n] = of @ of.T
            self.moves_with_power[k, :n] = of @ moved_w[begin:end]
