"""A TPU's runtime, asked for the use of its chips over a connection that is kept.

A connection a question took twice the CPU: an event loop, HTTP/2's settings and their acknowledgements.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from joulebook.agent.meters.tpu_wire import DUTY_CYCLE, MEMORY_USED, METHOD, parse_gauges, request

if TYPE_CHECKING:
    from grpclib.client import Channel

TIMEOUT_S = 3.0
_WHOLE_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Use:
    """What the runtime tells, by device; empty where none runs, since then no program uses a chip."""

    duty_percent: dict[int, float]
    used_bytes: dict[int, float]
    is_running: bool = True

    def of(self, chip: int, chips: int) -> tuple[int, int]:
        """Return the duty cycle in ppm and the bytes used of a chip; each core of it may tell its own."""
        duty = _grouped(self.duty_percent, chip, chips)
        share = max(duty, default=0.0) * _WHOLE_PPM / 100
        return min(max(0, int(share)), _WHOLE_PPM), int(sum(_grouped(self.used_bytes, chip, chips)))


def _grouped(values: dict[int, float], chip: int, chips: int) -> list[float]:
    ordered = [values[device] for device in sorted(values)]
    each = max(1, len(ordered) // chips)
    return [
        value for value in ordered[chip * each : (chip + 1) * each] if math.isfinite(value) and value >= 0
    ]


class RuntimeSilentError(OSError):
    """The runtime did not answer as it should; fix says what mends it."""

    fix = "check agent.tpu.address and what listens there; look into the log of the program that uses the TPU"


@dataclass(frozen=True, slots=True)
class _Raw:
    """A message as it is on the wire, with the two methods that the bindings ask of messages."""

    data: bytes

    def SerializeToString(self) -> bytes:  # noqa: N802  (protobuf's name)
        return self.data

    @classmethod
    def FromString(cls, data: bytes) -> _Raw:  # noqa: N802  (protobuf's name)
        return cls(data)


class Runtime:
    """The runtime at an address; ask() and close() are never called at the same time."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: Channel | None = None

    def ask(self) -> Use:
        """Ask for every chip; where nobody listens nothing runs. OSError, ValueError: it cannot be told."""
        from grpclib.exceptions import GRPCError, StreamTerminatedError  # noqa: PLC0415  (only with a TPU)

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        was_kept = self._channel is not None
        try:
            return self._loop.run_until_complete(self._gauges())
        except TimeoutError as error:
            self._hang_up()
            raise RuntimeSilentError(f"{self._address}: no answer within {TIMEOUT_S:g} s") from error
        except (StreamTerminatedError, ConnectionError) as error:
            self._hang_up()
            # Between two questions the runtime may have gone, or another program has begun one.
            if was_kept:
                return self.ask()
            if isinstance(error, ConnectionRefusedError):
                return Use({}, {}, is_running=False)
            raise RuntimeSilentError(f"{self._address}: {error}") from error
        except GRPCError as error:
            self._hang_up()
            raise RuntimeSilentError(f"{self._address}: {error.message or error.status.name}") from error
        except (OSError, ValueError) as error:
            self._hang_up()
            raise RuntimeSilentError(f"{self._address}: {error}") from error

    def close(self) -> None:
        """Hang up, and give the loop back."""
        self._hang_up()
        if self._loop is not None:
            self._loop.close()
        self._loop = None

    async def _gauges(self) -> Use:
        from grpclib.client import Channel, UnaryUnaryMethod  # noqa: PLC0415  (only where there is a TPU)

        if self._channel is None:
            host, _, port = self._address.rpartition(":")
            self._channel = Channel(host, int(port))
        method: UnaryUnaryMethod[_Raw, _Raw] = UnaryUnaryMethod(self._channel, METHOD, _Raw, _Raw)

        async def gauges(name: str) -> dict[int, float]:
            return parse_gauges((await method(_Raw(request(name)), timeout=TIMEOUT_S)).data)

        return Use(await gauges(DUTY_CYCLE), await gauges(MEMORY_USED))

    def _hang_up(self) -> None:
        channel, self._channel = self._channel, None
        if channel is None or self._loop is None:
            return
        channel.close()
        # The transport is closed by the loop's next round.
        with contextlib.suppress(OSError):
            self._loop.run_until_complete(asyncio.sleep(0))
