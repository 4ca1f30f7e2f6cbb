"""The node's power by a way that takes long, as a meter: its gauge integrated, or the counter beside it."""

from __future__ import annotations

from collections.abc import Sequence

from joulebook.agent.asked import Asked
from joulebook.agent.meters.bmc import MOST_MW, NodePower
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.meters.held_counter import HeldCounter
from joulebook.agent.meters.node_way import Asker
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import SUSPECT, UNREADABLE, WORKING, Domain, Finding, Probe, Series
from joulebook.v1 import report_pb2

# A BMC's power is a mean of a second where it tells nothing of that.
_WINDOW_US = 1_000_000
# A counter of coarser steps stands still for many ticks at a time; it is left to the gauge beside it.
_MOST_STEP_UJ = 100_000_000


class NodeMeter:
    """A node's power. There is no domain until the first answer that gives it; then there always is."""

    def __init__(self, asker: Asker, *, by_counter: bool = False) -> None:
        self.name = f"{asker.way.name}_energy" if by_counter else asker.way.name
        self._asker = asker
        hold_us = asker.slow.stale_us
        self._held = HeldPower(hold_us, MOST_MW)
        self._counted = HeldCounter(hold_us, MOST_MW) if by_counter else None
        self._taken_us = -1
        self._domain: Domain | None = None
        self._described: tuple[str, int] | None = None
        self._told: Domain | None = None
        # Of the way while it has no domain, of the domain then.
        self._said = Finding(self.name, WORKING)
        self._now_us = -1

    def probe(self) -> Probe:
        """Begin to ask, where that was not begun, and see whether there was an answer already."""
        asker = self._asker
        if asker.is_absent:
            return Probe(findings=(asker.standing,) if self._counted is None else ())
        asker.poll(asker.clock())
        self._take()
        self._told = self._domain
        if self._told is not None:
            return self._joined()
        self._said = self._judge(asker.clock())
        return Probe(findings=(self._said,) if self._counted is None else ())

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us, once there was an answer."""
        if now_us != self._now_us and not self._asker.is_absent:
            self._now_us = now_us
            self._asker.poll(now_us)
            self._take()
            (self._counted or self._held).advance(now_us)
        if self._told is None:
            return ()
        booked = self._counted or self._held
        return booked.energy_uj, booked.unread_us

    def changed(self) -> Probe | None:
        """Return the domain, where it came with an answer or is measured otherwise than before."""
        if self._domain == self._told:
            return None
        is_new, self._told = self._told is None, self._domain
        return self._joined() if is_new else Probe(self._series(), self._domains())

    def asked(self) -> tuple[str, Asked] | None:
        """Return how often the way was asked; None where there is none."""
        return None if self._asker.is_absent else (self._asker.way.name, self._asker.slow.asked)

    def is_waiting(self) -> bool:
        """Say whether the first answer is still to come."""
        slow = self._asker.slow
        return not self._asker.is_absent and slow.newest is None and not slow.trouble(self._asker.clock())

    def findings(self) -> tuple[Finding, ...]:
        """Return how the way stands, where that changed since the last call."""
        if self._asker.is_absent or (self._counted is not None and self._told is None):
            return ()
        found = self._judge(self._now_us)
        if found == self._said:
            return ()
        self._said = found
        return (found,)

    def offsets_uj(self) -> tuple[int, ...]:
        """Return 0: the energy begins at 0 with the first answer."""
        return (0,) * len(self._domains())

    def variances_nj2(self) -> tuple[int, ...]:
        """Return how far off the energy may be by being asked for now and then."""
        return (self._held.variance_nj2 if self._counted is None else 0,) * len(self._domains())

    def close(self) -> None:
        """End the asking."""
        self._asker.close()

    def _joined(self) -> Probe:
        self._said = Finding(f"{self.name}:node", WORKING)
        return Probe(self._series(), self._domains(), findings=(Finding(self.name, WORKING),))

    def _take(self) -> None:
        """Take the newest answer, where it is news."""
        answer = self._asker.slow.newest
        if answer is None or answer.taken_us <= self._taken_us:
            return
        self._taken_us = answer.taken_us
        power = answer.value
        if self._counted is None:
            self._held.take(power.power_mw, answer.taken_us)
        elif power.energy_uj >= 0 and 0 < power.energy_step_uj <= _MOST_STEP_UJ:
            self._counted.take(power.energy_uj, power.power_mw, answer.taken_us)
        else:
            return
        # Not what changes with every answer, such as the number of digits.
        if self._described != (power.way, power.window_us):
            self._described = (power.way, power.window_us)
            self._domain = self._describe(power)

    def shows(self) -> str:
        """Return the newest power in words, while it may be believed."""
        answer = None if self._asker.is_absent else self._asker.slow.answer(self._asker.clock())
        return "" if answer is None else f"{answer.value.power_mw / 1000:g} W by {answer.value.way}"

    def _judge(self, now_us: int) -> Finding:
        slow, name = self._asker.slow, self._said.name
        if trouble := slow.trouble(now_us):
            return Finding(name, UNREADABLE, trouble, slow.fix)
        if self._counted is not None and self._counted.suspicion:
            return Finding(name, SUSPECT, self._counted.suspicion, off_ppm=self._counted.off_ppm)
        return Finding(name, WORKING, "" if slow.newest is not None else "asked; no answer yet")

    def _describe(self, power: NodePower) -> Domain:
        period_us = self._asker.way.period_us
        # A step of the gauge, held for a period.
        step_uj = max(1, power.step_mw * period_us // 1000)
        return Domain(
            name="node",
            source=self.name,
            kind=report_pb2.SOURCE_KIND_AVERAGE_POWER,
            resolution_uj=step_uj if self._counted is None else power.energy_step_uj,
            period_us=max(period_us, power.window_us or _WINDOW_US),
            accuracy_ppm=self._asker.way.accuracy_ppm,
            limit_mw=self._held.limit_mw,
        )

    def _series(self) -> tuple[Series, ...]:
        return energy_series(domain.name for domain in self._domains())

    def _domains(self) -> tuple[Domain, ...]:
        return (self._told,) if self._told is not None else ()
