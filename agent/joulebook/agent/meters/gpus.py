"""GPUs that are found beside the tick and asked in rows: what the meters of all vendors have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from joulebook.agent.aside import Aside, BlockedError, Pending
from joulebook.agent.meters.gpu_metered import Metered
from joulebook.agent.meters.gpus_found import FoundGpus, KnownGpu
from joulebook.agent.meters.row import HANGS_S
from joulebook.agent.source import UNREADABLE, Finding, Probe, Roots

# A tick may not wait longer than 5 ms for all GPUs together: so long for their energy, and a quarter of that
# for who uses them. A start may wait longer.
_WAIT_S = 0.004
_LOOK_SHARE = 0.25
_START_S = 10.0
# How often it is looked whether GPUs came or went: the driver was loaded, one was plugged in or is back.
_LOOK_US = 30_000_000

F = TypeVar("F", bound=FoundGpus[Any])
G = TypeVar("G", bound=KnownGpu)


class GpusMeter(ABC, Generic[F, G]):
    """Read every GPU of a vendor. One that is lost, or lacks something, takes nothing from the others.

    A tick waits for the energy of all GPUs, for wait_s at most: what comes later counts with the next one.
    What asks the driver what there is, at the start and when something came or went, is done beside the tick.
    """

    name: str

    def __init__(
        self, roots: Roots, wait_s: float = _WAIT_S, start_s: float = _START_S, hangs_s: float = HANGS_S
    ) -> None:
        self.wait_s = wait_s
        self._start_s, self._hangs_s = start_s, hangs_s
        self._roots = roots
        self._aside: Aside | None = None
        self._pending: Pending[F] | None = None
        self._began_us = 0
        self._found: F | None = None
        # Why the last look found nothing.
        self._refused: OSError | None = None
        # Of all GPUs that were ever found, so that their energy goes on whatever comes between.
        self._known: dict[Any, Any] = {}
        self._told = Probe()
        self._listed: frozenset[Hashable] = frozenset()
        self._look_us = -1

    @property
    def gpus(self) -> tuple[G, ...]:
        """Return the GPUs found, in the order of their domains."""
        return self._found.gpus if self._found is not None else ()

    def probe(self) -> Probe:
        """Find every GPU, and what each can tell; a driver that hangs is waited for, and found later."""
        self._listed = self._list()
        pending = self._begin_look(0)
        pending.wait(self._start_s)
        if not self._take_look():
            error = pending.blocked()
            self._told = Probe(findings=(Finding(self.name, UNREADABLE, str(error), error.fix),))
        return self._told

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us of each domain, then the gauges of each GPU and its parts.

        One that does not answer in time misses this reading.
        """
        self._look(now_us)
        found = self._found
        if found is None:
            return ()
        if is_asked := self._may_ask():
            found.ask(now_us, self.wait_s)
        hangs = found.rows.hang
        values: list[int] = []
        gauges: list[int] = []
        for meter in found.meters:
            blocked = found.rows.blocked(meter) if hangs and found.rows.hangs(meter) else None
            self._settle(meter, now_us, blocked)
            for each in meter.all():
                values += (each.energy.energy_uj, each.energy.unread_us)
            gauges += meter.values
        if is_asked:
            self._follow(found, now_us)
        return values + gauges

    def changed(self) -> Probe | None:
        """Return what there is now, where GPUs or their parts came or went, or a counter is not believed."""
        before = self._told
        self._take_look()
        if self._found is not None and self._found.take_changes():
            self._told = self._found.probe()
        if self._told is before or self._told == before:
            return None
        # The rest was said.
        return replace(
            self._told, findings=tuple(one for one in self._told.findings if one not in before.findings)
        )

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call."""
        return tuple([finding for each in self._metered for finding in each.health.finding()])

    def is_waiting(self) -> bool:
        """Say whether a GPU has not answered yet, and may."""
        return any(each.is_waiting for each in self._metered)

    def offsets_uj(self) -> tuple[int, ...]:
        """Return each domain's series value less its hardware counter."""
        return tuple([each.energy.offset_uj for each in self._metered])

    def variances_nj2(self) -> tuple[int, ...]:
        """Return how far off each domain's energy may be by being read at moments."""
        return tuple([each.energy.variance_nj2 for each in self._metered])

    def close(self) -> None:
        """Give the driver back."""
        if self._aside is not None:
            self._aside.close()
        if self._found is not None:
            self._found.close()
        self._aside = self._pending = self._found = None

    @abstractmethod
    def _list(self) -> frozenset[Hashable]:
        """Return what the kernel or the driver lists of GPUs: another list is a reason to look again."""

    @abstractmethod
    def _find(self) -> F:
        """Find all that there is, in a thread that may hang. OSError: the driver is not there."""

    def _absent(self, error: OSError) -> Finding:
        """Return what is said where nothing was found, and why."""
        return Finding(self.name, UNREADABLE, str(error), getattr(error, "fix", ""))

    def _is_due(self, before: frozenset[Hashable]) -> bool:
        """Say whether to look again, which is asked now and then; before: what was listed until then."""
        return self._listed != before

    def _is_stale(self, now_us: int) -> bool:  # noqa: ARG002  (most drivers are never begun again)
        """Say whether to look again because the driver does not answer any more."""
        return False

    def _may_ask(self) -> bool:
        """Say whether GPUs may be asked now."""
        return True

    def _settle(self, meter: Any, now_us: int, blocked: BlockedError | None) -> None:
        """Book what a GPU gave; blocked: its driver hangs."""
        for each in meter.all():
            each.settle(now_us, blocked)

    def _follow(self, found: F, now_us: int) -> None:
        """Have asked, after the energy, what nobody waits for."""

    @property
    def _meters(self) -> Sequence[Any]:
        return self._found.meters if self._found is not None else ()

    @property
    def _metered(self) -> Sequence[Metered[Any]]:
        return self._found.metered if self._found is not None else ()

    def _begin_look(self, now_us: int) -> Pending[F]:
        if self._pending is None:
            self._aside = Aside(f"{self.name}.look")
            self._pending, self._began_us = self._aside.begin(self._find), now_us
        return self._pending

    def _take_look(self) -> bool:
        """Take what a look found, in place of what was there; say whether one has ended."""
        if self._pending is None or self._aside is None or not self._pending.done:
            return False
        pending, self._pending = self._pending, None
        self._aside.close()
        try:
            found = pending.result(0)
        except OSError as error:
            self._refused = error
            if self._found is None:
                self._told = Probe(findings=(self._absent(error),))
            return True
        before, self._found, self._refused = self._found, found, None
        if before is not None:
            before.close()
        self._known |= found.known
        if found.looks is not None:
            found.looks.wait_s = self.wait_s * _LOOK_SHARE
        self._told = found.probe()
        return True

    def _look(self, now_us: int) -> None:
        """Have it looked again where something came or went; where the driver hangs, that would hang too."""
        if self._pending is not None:
            return
        if self._look_us < 0:
            self._look_us = now_us
        is_due = self._is_stale(now_us)
        if now_us - self._look_us >= _LOOK_US and not (self._found is not None and self._found.rows.hang):
            self._look_us = now_us
            before, self._listed = self._listed, self._list()
            is_due |= self._is_due(before)
        if is_due:
            self._begin_look(now_us)
