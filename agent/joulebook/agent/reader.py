"""A source and what it gave last, which stands in while it cannot be read."""

from collections.abc import Sequence

from joulebook.agent.source import UNREADABLE, WORKING, ChangingSource, Finding, Probe, Source

_LAST_STAND = "the last values stand until it reads again"


class Reader:
    """Reads a source each tick, and tells when that begins or ceases to fail."""

    def __init__(self, source: Source, probe: Probe) -> None:
        self.source = source
        self.probe = probe
        self.last: Sequence[int] = [0] * len(probe.series)
        self.failing = False
        self._changing = source if isinstance(source, ChangingSource) else None

    @property
    def worth_reading(self) -> bool:
        """Say whether there is, or may come, anything to read."""
        return bool(self.probe.series) or self._changing is not None

    def read(self, now_us: int) -> Finding | None:
        """Read; return how the source stands where that changed."""
        try:
            self.last = self.source.read(now_us)
        except Exception as error:  # one source's fault, of whatever kind, takes no other down
            if not self.failing:
                self.failing = True
                return Finding(self.source.name, UNREADABLE, str(error) or repr(error), _LAST_STAND)
            return None
        if self.failing:
            self.failing = False
            return Finding(self.source.name, WORKING)
        return None

    def change(self, now_us: int) -> tuple[Finding, ...] | None:
        """Take up what the source says there is now, with its first readings; None: it is as it was.

        What cannot be read at once is left out until the source has news again: its first reading would
        otherwise come later and count as if all of it had just happened.
        """
        probe = self._changing.changed() if self._changing is not None else None
        if probe is None:
            return None
        self.probe = probe
        finding = self.read(now_us)
        if self.failing:
            self.probe, self.last = Probe(findings=probe.findings), ()
        return (*probe.findings, finding) if finding is not None else probe.findings
