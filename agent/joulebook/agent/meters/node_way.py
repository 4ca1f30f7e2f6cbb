"""A way to a node's power that takes long: what it is, and the one asker that meters share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from joulebook.agent.clock import boot_us
from joulebook.agent.meters.bmc import AskError, NodePower
from joulebook.agent.patience import Patience
from joulebook.agent.slow import Slow
from joulebook.agent.source import ABSENT, Finding

# Every way keeps to time-outs of its own; this is when one is said to hang.
_TIMEOUT_US = 20_000_000


class NodeWay(Protocol):
    """IPMI, Redfish, a PDU: asked beside the tick."""

    name: str
    accuracy_ppm: int
    period_us: int

    def probe(self) -> Finding:
        """Say whether there is anything to ask; nothing is asked yet."""

    def read(self) -> NodePower:
        """Ask. Raises AskError, or any other OSError, where no believable answer came."""

    def close(self) -> None:
        """Give back what is held."""


class NoWay:
    """A way that the configuration does not have."""

    accuracy_ppm = 0
    period_us = 1_000_000

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self._reason = reason

    def probe(self) -> Finding:
        """Say why there is nothing to ask."""
        return Finding(self.name, ABSENT, self._reason)

    def read(self) -> NodePower:
        """Raise AskError: there is nothing to ask."""
        raise AskError(self._reason)

    def close(self) -> None:
        """Hold nothing."""


class Asker:
    """Asks a way every period, once for all meters that use its answers; never where there is none to ask."""

    def __init__(
        self, way: NodeWay, clock: Callable[[], int] = boot_us, jitter: Callable[[], float] = lambda: 1.0
    ) -> None:
        self.way = way
        self.clock = clock
        self.standing = way.probe()
        self.is_absent = self.standing.state == ABSENT
        self.slow: Slow[NodePower] = Slow(
            f"{way.name}:node",
            way.read,
            period_us=way.period_us,
            timeout_us=_TIMEOUT_US,
            jitter=jitter,
            clock=clock,
        )
        self._is_closed = False

    def poll(self, now_us: int) -> None:
        """Take what came and ask again where that is due; slow.newest has it, for every meter."""
        if not self.is_absent:
            self.slow.poll(now_us)

    def close(self) -> None:
        """End the asking, and what it holds unless it hangs."""
        if not self._is_closed:
            self._is_closed = True
            if self.slow.close():
                self.way.close()


def begin(askers: Sequence[Asker], patience_s: float) -> None:
    """Have all ask at once, and wait for their answers, all together no longer than patience_s."""
    patience = Patience(patience_s)
    for asker in askers:
        asker.poll(asker.clock())
    for asker in askers:
        asker.slow.wait(patience.left_s)
        asker.poll(asker.clock())
