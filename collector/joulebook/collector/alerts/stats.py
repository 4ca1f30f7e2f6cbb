"""What the delivery of alerts counts."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class DeliveryStats:
    """Notifications by Alertmanager since the start: taken by it, and not."""

    sent: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
