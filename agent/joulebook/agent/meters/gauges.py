"""Gauges of power are read between ticks, at random moments, beside the tick.

A load that keeps step with the reading would be seen at its top or its bottom only, so the gaps between reads
are random. A firmware that takes long, or hangs, holds up neither the tick nor the other gauges.
"""

from __future__ import annotations

import os
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from joulebook.agent.clock import boot_us
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.meters.sampled import Declared

# A gauge that has not come back for this long is left to its thread; the others get another.
_HANGS_US = 1_000_000
# A thread that was not run for so long on a busy node makes no energy unread.
_LEAST_HOLD_US = 2_000_000
_HELD_PERIODS = 3
_JOIN_S = 1.0


class GaugesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.gauges] of the configuration."""

    # How often a gauge of power is read, at random moments between ticks; 0: at ticks only.
    reads_per_s: float = 10.0

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        if not 0 <= self.reads_per_s <= 1000:
            return [f"agent.gauges.reads_per_s = {self.reads_per_s}: expected 0 to 1000"]
        return []


class Gauge:
    """One gauge: read() in a thread, advance() in the tick, which is the only one to touch power."""

    def __init__(
        self,
        fd: int,
        divisor: int,
        every_us: int,
        limit_mw: int = 0,
        declared: Declared | None = None,
    ) -> None:
        self.fd, self.divisor, self.every_us = fd, divisor, every_us
        self.power = HeldPower(max(_HELD_PERIODS * every_us, _LEAST_HOLD_US), limit_mw, **(declared or {}))
        self.error = ""
        self.due_us = 0
        # When a read was begun that has not come back; 0: none.
        self.begun_us = 0
        self._came: deque[tuple[int, int]] = deque(maxlen=4096)

    def seed(self, raw: int, taken_us: int) -> None:
        """Take a value that was read before the thread begins."""
        self._came.append((raw // self.divisor, taken_us))

    def read(self, clock: Callable[[], int]) -> None:
        """Read once; the moment between asking and answer is when it held."""
        self.begun_us = begun_us = clock()
        try:
            power_mw = int(os.pread(self.fd, 32, 0)) // self.divisor
        except (OSError, ValueError) as error:
            self.error = str(error)
        else:
            self._came.append((power_mw, (begun_us + clock()) // 2))
            self.error = ""
        self.begun_us = 0

    def advance(self, now_us: int) -> None:
        """Take what came, and show energy up to now."""
        while self._came:
            power_mw, taken_us = self._came.popleft()
            self.power.take(power_mw, taken_us)
        self.power.advance(now_us)

    def hangs(self, now_us: int) -> bool:
        """Say whether a read has not come back for long."""
        return 0 < self.begun_us < now_us - _HANGS_US


class GaugeReader:
    """Reads gauges in a thread of its own. watch() in the tick sees to it that one that hangs is alone."""

    def __init__(self, name: str, clock: Callable[[], int] = boot_us) -> None:
        self._name, self._clock = name, clock
        self._random = random.Random()
        self._workers: list[_Worker] = []

    def start(self, gauges: Sequence[Gauge]) -> None:
        """Begin to read."""
        if gauges:
            self._workers.append(_Worker(self._name, list(gauges), self._clock, self._random))

    def watch(self, now_us: int) -> None:
        """Give the gauges behind one that hangs to another thread."""
        for worker in list(self._workers):
            if len(worker.gauges) > 1 and any(gauge.hangs(now_us) for gauge in worker.gauges):
                hanging = [gauge for gauge in worker.gauges if gauge.hangs(now_us)]
                others = [gauge for gauge in worker.gauges if gauge not in hanging]
                worker.gauges = hanging
                self.start(others)

    def close(self) -> bool:
        """End the threads; say whether all ended, else their descriptors are still in use."""
        for worker in self._workers:
            worker.stop.set()
        ended = [worker.join() for worker in self._workers]
        self._workers = []
        return all(ended)


class _Worker:
    def __init__(self, name: str, gauges: list[Gauge], clock: Callable[[], int], rng: random.Random) -> None:
        self.gauges = gauges
        self.stop = threading.Event()
        self._clock, self._random = clock, rng
        # A daemon: a firmware that hangs must not keep the agent from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def join(self) -> bool:
        self._thread.join(_JOIN_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        clock = self._clock
        while not self.stop.is_set():
            # From half to one and a half of the mean gap; the same for all, so that one wake-up reads all.
            share = 0.5 + self._random.random()
            began_us = clock()
            for gauge in self.gauges:
                if gauge.due_us <= began_us:
                    gauge.read(clock)
                    gauge.due_us = began_us + round(gauge.every_us * share)
            left_us = min(gauge.due_us for gauge in self.gauges) - clock()
            if left_us > 0:
                self.stop.wait(left_us / 1e6)
