"""A source and what it gave last, which stands in while it cannot be read."""

from collections.abc import Sequence

from joulebook.agent.mending import fix_of
from joulebook.agent.source import UNREADABLE, WORKING, ChangingSource, Finding, Probe, Source

# What fits the wire, differences included; no counter or level comes near it.
_MOST = 1 << 61


class Reader:
    """Reads a source each tick, and tells when that begins or ceases to fail.

    A source that cannot be read at first, or where its parts changed, is left out until it can: its first
    reading would otherwise come later and count as if all of it had just happened.
    """

    def __init__(self, source: Source, probe: Probe, *, has_place: bool = False) -> None:
        """has_place: what it gives stands in a row already, so it cannot be left out; it begins at 0 then."""
        self.source = source
        self.probe = probe
        self.last: Sequence[int] = [0] * len(probe.series)
        self.failing = False
        self._begun = has_place
        self._has_place = has_place
        self._left_out: Probe | None = None
        self._came: Sequence[int] | None = None
        self._changing = source if isinstance(source, ChangingSource) else None

    @property
    def worth_reading(self) -> bool:
        """Say whether there is, or may come, anything to read."""
        return bool(self.probe.series) or self._changing is not None

    def read(self, now_us: int) -> Finding | None:
        """Read; return how the source stands where that changed."""
        try:
            values = self.source.read(now_us)
            if values and not -_MOST < min(values) <= max(values) < _MOST:
                raise ValueError(f"a reading of {len(str(max(values, key=abs)))} digits is absurd")
        except Exception as error:  # one source's fault, of whatever kind, takes no other down
            if not self._begun and self._left_out is None:
                self._left_out, self.probe, self.last = self.probe, Probe(findings=self.probe.findings), ()
            if not self.failing:
                self.failing = True
                reason = str(error) or repr(error)
                return Finding(self.source.name, UNREADABLE, reason, fix_of(error))
            return None
        if self._left_out is None:
            self._begun, self.last = True, values
        else:
            self._came = values
        if self.failing:
            self.failing = False
            return Finding(self.source.name, WORKING)
        return None

    def change(self, now_us: int) -> tuple[Finding, ...] | None:
        """Take up what the source says there is now, with its first readings; None: it is as it was."""
        probe = self._changing.changed() if self._changing is not None else None
        if probe is not None:
            self.probe, self.last = probe, [0] * len(probe.series)
            self._begun, self._left_out, self._came = self._has_place, None, None
            finding = self.read(now_us)
            return (*probe.findings, finding) if finding is not None else probe.findings
        if self._left_out is not None and self._came is not None:
            self.probe, self.last = self._left_out, self._came
            self._begun, self._left_out, self._came = True, None, None
            return ()
        return None
