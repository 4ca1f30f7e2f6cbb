"""How gauges of momentary power are read between ticks."""

import msgspec


class GaugesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.gauges] of the configuration."""

    # How often a gauge of momentary power is read, at random moments; 0: at ticks only.
    reads_per_s: float = 10.0

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        if not 0 <= self.reads_per_s <= 1000:
            return [f"agent.gauges.reads_per_s = {self.reads_per_s}: expected 0 to 1000"]
        return []
