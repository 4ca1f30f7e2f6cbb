"""Google's TPUs: what the runtime tells of their use, and power made of that. They have no power sensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from joulebook.agent.asked import Asked
from joulebook.agent.clock import boot_us
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.meters.series import energy_series
from joulebook.agent.meters.tpu_chips import Kind, find_chips
from joulebook.agent.meters.tpu_config import TpuConfig
from joulebook.agent.meters.tpu_runtime import TIMEOUT_S, Runtime, Use
from joulebook.agent.slow import Slow
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Device, Domain, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2

_WHOLE_PPM = 1_000_000
# Duty cycle says that a chip worked, not how hard; and what chips draw differs by what they compute.
_ACCURACY_PPM = 500_000
_UNKNOWN_FIX = "set agent.tpu.idle_w and most_w to what a chip draws at rest and at most"

FACTS = SourceFacts(
    name="tpu",
    what="use and memory of Google's TPUs, as devices `gpu.N`; their energy by a model (`gpu.N`)",
    where="the runtime's `RuntimeMetricService`, port 8431 (`[agent.tpu]`)",
    unit="per cent, bytes",
    period="`agent.tpu.period_s` (5 s)",
    accuracy="±50 %, modelled: idle + duty cycle × (most − idle), as published for v2, v3 and v4",
    privilege="none",
    cost="p50 2.9 ms, p99 25 ms, 1.9 ms of CPU, beside the tick (a service on loopback)",
    documentation="tpu-info (PyPI); Jouppi et al., ISCA 2021; Google Cloud, TPU v4",
)


class TpuMeter:
    """Every TPU chip of this machine."""

    name = "tpu"

    def __init__(
        self, roots: Roots, config: TpuConfig | None = None, clock: Callable[[], int] = boot_us
    ) -> None:
        self._config = config or TpuConfig()
        self._sysfs = roots.sysfs
        self._clock = clock
        self._chips: list[Kind] = []
        self._held: list[HeldPower] = []
        self._use: list[tuple[int, int]] = []
        self._slow: Slow[Use] | None = None
        self._runtime = Runtime(self._config.address)

    def probe(self) -> Probe:
        """Find the chips by their PCI identity."""
        self.close()
        self._chips = find_chips(self._sysfs)
        if not self._chips:
            return Probe(findings=(Finding(self.name, ABSENT, "no TPU"),))
        self._runtime = Runtime(self._config.address)
        self._slow = Slow(
            self.name,
            self._runtime.ask,
            period_us=int(self._config.period_s * 1e6),
            timeout_us=int(4 * TIMEOUT_S * 1e6),
            clock=self._clock,
        )
        self._use = [(0, 0)] * len(self._chips)
        self._held = [HeldPower(self._slow.stale_us, 2 * self._watts(chip)[1]) for chip in self._modelled]
        devices = tuple(
            Device(
                f"gpu.{n}",
                report_pb2.DEVICE_KIND_GPU,
                size_bytes=chip.hbm_bytes,
                power_limit_mw=self._watts(chip)[1],
            )
            for n, chip in enumerate(self._chips)
        )
        findings = [Finding(self.name, WORKING)]
        if not self._modelled:
            kind = self._chips[0].name
            reason = f"what a chip of {kind} draws is not published: its energy is not modelled"
            findings.append(Finding("tpu:power", UNREADABLE, reason, _UNKNOWN_FIX))
        return Probe(
            series=energy_series(f"gpu.{n}" for n in range(len(self._modelled)))
            + tuple(
                Series(metric, device=device.name)
                for device in devices
                for metric in (metrics.METRIC_DEVICE_GPU_UTILISATION, metrics.METRIC_DEVICE_GPU_MEMORY_USED)
            ),
            domains=tuple(self._domain(n, chip) for n, chip in enumerate(self._modelled)),
            devices=devices,
            findings=tuple(findings),
        )

    def asked(self) -> tuple[str, Asked] | None:
        """Return how often the runtime was asked; None where there is no TPU."""
        return (self.name, self._slow.asked) if self._slow is not None else None

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us of each chip that is modelled, then use and memory of each."""
        if self._slow is None:
            return ()
        answer = self._slow.poll(now_us)
        if answer is not None:
            self._use = [answer.value.of(n, len(self._chips)) for n in range(len(self._chips))]
        values: list[int] = []
        for chip, held, (duty_ppm, _) in zip(self._modelled, self._held, self._use, strict=False):
            if answer is not None:
                idle_mw, most_mw = self._watts(chip)
                held.take(idle_mw + (most_mw - idle_mw) * duty_ppm // _WHOLE_PPM, answer.taken_us)
            held.advance(now_us)
            values += (held.energy_uj, held.unread_us)
        return values + [value for use in self._use for value in use]

    def findings(self) -> tuple[Finding, ...]:
        """Return how the runtime stands, where that changed since the last call."""
        return () if self._slow is None else self._slow.finding(self._clock(), self._note())

    def is_waiting(self) -> bool:
        """Say whether the first answer is still to come."""
        return self._slow is not None and self._slow.is_waiting()

    def offsets_uj(self) -> tuple[int, ...]:
        """Return 0: nothing counts."""
        return (0,) * len(self._modelled)

    def wait(self, timeout_s: float) -> None:
        """Wait for the answer that is asked for: for who has the time."""
        if self._slow is not None:
            self._slow.wait(timeout_s)

    def close(self) -> None:
        """End the asking."""
        # What hangs keeps its connection.
        if self._slow is not None and self._slow.close():
            self._runtime.close()
        self._slow = None

    @property
    def _modelled(self) -> list[Kind]:
        """Return the chips, where what they draw is known."""
        return self._chips if all(self._watts(chip)[1] for chip in self._chips) else []

    def shows(self) -> str:
        """Return how busy each chip was last, while that may be believed."""
        if self._slow is None or self._slow.answer(self._clock()) is None:
            return ""
        return ", ".join(f"gpu.{n} {duty_ppm / 10_000:g} % busy" for n, (duty_ppm, _) in enumerate(self._use))

    def _note(self) -> str:
        newest = self._slow.newest if self._slow is not None else None
        if newest is None or newest.value.is_running:
            return ""
        return f"no runtime listens at {self._config.address}: no program uses a chip, all are at rest"

    def _watts(self, chip: Kind) -> tuple[int, int]:
        config = self._config
        if config.most_w:
            return int(config.idle_w * 1000), int(config.most_w * 1000)
        return chip.idle_mw, chip.most_mw

    def _domain(self, number: int, chip: Kind) -> Domain:
        return Domain(
            name=f"gpu.{number}",
            source=self.name,
            kind=report_pb2.SOURCE_KIND_MODEL,
            resolution_uj=1,
            period_us=int(self._config.period_s * 1e6),
            accuracy_ppm=_ACCURACY_PPM,
            limit_mw=2 * self._watts(chip)[1],
            idle_power_mw=self._watts(chip)[0],
        )
