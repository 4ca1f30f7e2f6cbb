"""What the meter of TPUs can be told: section [agent.tpu]."""

import msgspec

_MOST_W = 5000


class TpuConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.tpu] of the configuration."""

    # Where the runtime tells its metrics.
    address: str = "127.0.0.1:8431"
    period_s: float = 5.0
    # What a chip draws at rest and at most, where that is known better; 0: as it was published.
    idle_w: float = 0
    most_w: float = 0

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = []
        _, _, port = self.address.rpartition(":")
        if not port.isdigit() or not 0 < int(port) < 1 << 16:
            wrong.append(f"agent.tpu.address = {self.address!r}: expected host:port")
        if not 1 <= self.period_s <= 300:
            wrong.append(f"agent.tpu.period_s = {self.period_s}: expected 1 to 300")
        if not 0 <= self.idle_w <= self.most_w <= _MOST_W:
            wrong.append(
                f"agent.tpu.idle_w = {self.idle_w}, most_w = {self.most_w}: "
                f"expected 0 ≤ idle_w ≤ most_w ≤ {_MOST_W}"
            )
        return wrong
