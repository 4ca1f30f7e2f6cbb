"""A way to a node's power that takes long: what it is, and the one asker that meters share."""

from __future__ import annotations

from typing import Protocol

from joulebook.agent.clock import boot_us
from joulebook.agent.meters.bmc import NodePower
from joulebook.agent.slow import Answer, Slow
from joulebook.agent.source import Finding

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


class Asker:
    """Asks a way every period, once for all meters that use its answers."""

    def __init__(self, way: NodeWay) -> None:
        self.way = way
        self.slow: Slow[NodePower] = Slow(
            f"{way.name}:node", way.read, period_us=way.period_us, timeout_us=_TIMEOUT_US
        )
        self._polled_us = -1
        self._fresh: Answer[NodePower] | None = None
        self._is_closed = False

    def begin(self, wait_s: float) -> None:
        """Ask for the first time, and wait a little for the answer."""
        self.poll(boot_us())
        self.slow.wait(wait_s)
        self.poll(boot_us())

    def poll(self, now_us: int) -> Answer[NodePower] | None:
        """Return the answer that came since the tick before; every meter sees it in the tick of now_us."""
        if now_us != self._polled_us:
            self._polled_us = now_us
            self._fresh = self.slow.poll(now_us)
        return self._fresh

    def close(self) -> None:
        """End the asking, and what it holds unless it hangs."""
        if not self._is_closed:
            self._is_closed = True
            if self.slow.close():
                self.way.close()
