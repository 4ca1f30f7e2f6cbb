"""Turn a meter's raw readings into energy and unread time that never fall."""

from joulebook.agent.meters.sampled import Sampled

# A meter without a stated limit: more than any single domain of a node draws.
DEFAULT_LIMIT_MW = 20_000_000
# Counters move in steps (RAPL 1 ms, NVML 100 ms), so two close readings may hold a whole step between them.
SLACK_US = 100_000
# A counter without a range shows no more: 10^18 µJ are what a node draws in a million years.
_MOST_UJ = 10**18
# A gap longer than this is booked as unread even where its energy may still be recovered.
PATIENCE_US = 60_000_000


class EnergyCounter:
    """Unwrap a hardware energy counter.

    energy_uj begins at the first raw reading and grows by what the counter grew; offset_uj is energy_uj
    less raw, modulo the range: 0 until the counter is rebased. A reading that the domain cannot have
    reached under its limit is dropped and kept as a candidate. Where the next reading returns to the old
    trajectory, the whole difference since the last good reading counts and nothing is lost. Where it
    continues from the candidate, the counter was reset: it is rebased there, and the time up to the
    candidate is unread. Missed readings lose nothing while the gap cannot hide a whole wrap.

    unread_us is committed only when energy is given up: on a rebase, when a gap can hide a wrap, or when it
    outlasts PATIENCE_US. Time given up for patience stays unread even where its energy comes later.
    """

    __slots__ = (
        "_candidate_uj",
        "_candidate_us",
        "_committed_us",
        "_first_us",
        "_given_up_us",
        "_read_uj",
        "changed_us",
        "dropped",
        "energy_uj",
        "limit_mw",
        "missing",
        "now_us",
        "range_uj",
        "read_us",
        "reason",
        "unread_us",
    )

    def __init__(self, range_uj: int = 0, limit_mw: int = 0) -> None:
        self.range_uj = range_uj
        self.limit_mw = limit_mw or DEFAULT_LIMIT_MW
        self.energy_uj = 0
        self.unread_us = 0
        self.dropped = 0
        self.reason = ""
        self.missing = False
        # Of the last call, the last believed reading and the last reading that differed.
        self.now_us = 0
        self.read_us = 0
        self.changed_us = 0
        self._first_us = -1
        self._read_uj = -1
        self._candidate_uj = -1
        self._candidate_us = 0
        self._committed_us = 0
        self._given_up_us = 0

    @property
    def offset_uj(self) -> int:
        """Return energy_uj less the last believed raw reading, in [0, range) where there is a range."""
        if self._read_uj < 0:
            return 0
        offset_uj = self.energy_uj - self._read_uj
        return offset_uj % self.range_uj if self.range_uj else offset_uj

    @property
    def variance_nj2(self) -> int:
        """Return 0: a counter misses nothing between readings."""
        return 0

    def update(self, raw_uj: int, now_us: int) -> None:
        """Take a raw reading."""
        read_uj = self._read_uj
        if read_uj < 0:
            self._start(raw_uj, now_us)
            return
        grown_uj = self._grown(read_uj, self.read_us, raw_uj, now_us)
        if grown_uj >= 0:
            if grown_uj:
                self.energy_uj += grown_uj
                self.changed_us = now_us
            self._believe(raw_uj, now_us)
            return
        self._doubt(raw_uj, now_us)

    def miss(self, now_us: int) -> None:
        """Note that no reading could be had."""
        self.missing = True
        self.now_us = now_us
        if self._read_uj < 0:
            if self._first_us < 0:
                self._first_us = now_us
            self._commit(now_us - self._first_us)
            return
        gap_us = now_us - self.read_us
        if gap_us > PATIENCE_US or self._hides_wrap(gap_us):
            self._commit(gap_us)

    def restart(self, raw_uj: int, now_us: int, reason: str) -> None:
        """Begin again at a raw reading: the device says that its counter did. The gap before it is unread."""
        if self._read_uj < 0:
            self._start(raw_uj, now_us)
            return
        self._drop(reason)
        self._commit(now_us - self.read_us)
        self.changed_us = now_us
        self._believe(raw_uj, now_us)

    def begin(self, now_us: int) -> None:
        """Have the series begin at 0, where the first reading is still to come: it may not be one lump."""
        if self._read_uj < 0 and self._first_us < 0:
            self._first_us = now_us

    def give_up(self) -> None:
        """Note that nothing is known since the counter moved last: it is stuck. Call it while that lasts."""
        since_us = max(self.changed_us, self._given_up_us)
        if self.now_us > since_us:
            self.unread_us += self.now_us - since_us
            self._given_up_us = self.now_us

    def _start(self, raw_uj: int, now_us: int) -> None:
        if not 0 <= raw_uj <= (self.range_uj or _MOST_UJ):
            self._drop(f"reading {_shown(raw_uj)} µJ is outside 0…{self.range_uj or _MOST_UJ} µJ")
            self.miss(now_us)
            return
        if self._first_us < 0:
            self.energy_uj = raw_uj
        else:
            # The series has already begun at 0: the first reading may not arrive as one lump of energy.
            self._commit(now_us - self._first_us)
        self.changed_us = now_us
        self._believe(raw_uj, now_us)

    def _believe(self, raw_uj: int, now_us: int) -> None:
        self._read_uj = raw_uj
        self.read_us = self.now_us = now_us
        self._candidate_uj = -1
        self._committed_us = 0
        self.missing = False

    def _doubt(self, raw_uj: int, now_us: int) -> None:
        if not 0 <= raw_uj <= (self.range_uj or _MOST_UJ):
            self._drop(f"reading {_shown(raw_uj)} µJ is outside 0…{self.range_uj or _MOST_UJ} µJ")
            self.miss(now_us)
            return
        if self._candidate_uj >= 0:
            grown_uj = self._grown(self._candidate_uj, self._candidate_us, raw_uj, now_us)
            if grown_uj >= 0:
                self._commit(self._candidate_us - self.read_us)
                self.energy_uj += grown_uj
                self.changed_us = now_us
                self.reason = "the counter began again at another value"
                self._believe(raw_uj, now_us)
                return
        gap_us = now_us - self.read_us
        if self._hides_wrap(gap_us):
            self._drop(f"the counter may have wrapped unseen in {gap_us // 1_000_000} s without a reading")
            self._commit(gap_us)
            self.changed_us = now_us
            self._believe(raw_uj, now_us)
            return
        self._drop(f"reading {raw_uj} µJ cannot follow {self._read_uj} µJ at {self.limit_mw // 1000} W")
        self.miss(now_us)
        self._candidate_uj, self._candidate_us = raw_uj, now_us

    def _grown(self, from_uj: int, from_us: int, raw_uj: int, now_us: int) -> int:
        """Return the growth between two raw readings, or -1 where it is impossible or ambiguous."""
        range_uj = self.range_uj
        elapsed_us = now_us - from_us
        grown_uj = raw_uj - from_uj
        if range_uj:
            # mW · µs are nJ.
            if elapsed_us * self.limit_mw >= range_uj * 1000 or not 0 <= raw_uj <= range_uj:
                return -1
            if grown_uj < 0:
                grown_uj += range_uj
        if grown_uj < 0 or grown_uj * 1000 > self.limit_mw * (elapsed_us + SLACK_US):
            return -1
        return grown_uj

    def _hides_wrap(self, gap_us: int) -> bool:
        return 0 < self.range_uj * 1000 <= gap_us * self.limit_mw

    def _commit(self, gap_us: int) -> None:
        if gap_us > self._committed_us:
            self.unread_us += gap_us - self._committed_us
            self._committed_us = gap_us

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        self.reason = reason


def _shown(reading: int) -> str:
    return str(reading) if abs(reading) < 10**20 else f"of {len(str(reading))} digits"


class PowerIntegral:
    """Integrate a power gauge by trapezoid, from 0, in exact integers with the remainder carried.

    A reading that is missing, negative or above the limit is dropped. A gauge says nothing of the time
    it was not read, so the time from the reading before the gap to the one after it is unread.
    """

    __slots__ = (
        "_last_us",
        "_power_mw",
        "_rest",
        "changed_us",
        "dropped",
        "energy_uj",
        "limit_mw",
        "missing",
        "now_us",
        "reason",
        "sampled",
        "unread_us",
    )

    def __init__(self, limit_mw: int = 0, *, window_us: int = 0, period_us: int = 0) -> None:
        """window_us and period_us are the gauge's own, as Sampled takes them."""
        self.sampled = Sampled(window_us=window_us, period_us=period_us)
        self.limit_mw = limit_mw or DEFAULT_LIMIT_MW
        self.energy_uj = 0
        self.unread_us = 0
        self.dropped = 0
        self.reason = ""
        self.missing = False
        self.now_us = 0
        self.changed_us = 0
        self._last_us = -1
        self._power_mw = -1
        self._rest = 0

    @property
    def offset_uj(self) -> int:
        """Return 0: there is no hardware counter."""
        return 0

    @property
    def variance_nj2(self) -> int:
        """Return how far off the energy may be by being read at moments."""
        return self.sampled.variance_nj2

    def update(self, power_mw: int, now_us: int) -> None:
        """Take a reading of the gauge."""
        if not 0 <= power_mw <= self.limit_mw:
            self.dropped += 1
            self.reason = f"reading {power_mw} mW is outside 0…{self.limit_mw} mW"
            self.miss(now_us)
            return
        if self._last_us >= 0:
            elapsed_us = now_us - self._last_us
            if self._power_mw < 0:
                self.unread_us += elapsed_us
            else:
                # Two readings in mW times µs: half nanojoules.
                grown_uj, self._rest = divmod((self._power_mw + power_mw) * elapsed_us + self._rest, 2000)
                self.energy_uj += grown_uj
        if self._power_mw >= 0:
            change_mw = power_mw - self._power_mw
            self.sampled.take(change_mw, now_us - self._last_us, now_us - self.changed_us)
        if power_mw != self._power_mw:
            self.changed_us = now_us
        self._power_mw = power_mw
        self._last_us = self.now_us = now_us
        self.missing = False

    def begin(self, now_us: int) -> None:
        """Do nothing: the series begins at 0 whenever the first reading comes."""

    def miss(self, now_us: int) -> None:
        """Note that no reading could be had."""
        if self._last_us >= 0:
            self.unread_us += now_us - self._last_us
        self._power_mw = -1
        self._last_us = self.now_us = now_us
        self.missing = True
