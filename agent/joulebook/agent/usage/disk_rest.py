"""Which disks were found in standby, until they move data or that is too long ago to be believed."""

Moved = tuple[int, ...]


class DiskRest:
    """Told by who asks disks, in a thread of its own, and read by the model at ticks.

    A disk's item is replaced as a whole, so no lock is needed.
    """

    def __init__(self, valid_us: int) -> None:
        self._valid_us = valid_us
        self._rests: dict[str, tuple[int, Moved]] = {}

    def told(self, disk: str, *, is_resting: bool, moved: Moved, now_us: int) -> None:
        """Note what a disk told; moved: its counters before it was asked, which move where it wakes."""
        if is_resting:
            self._rests[disk] = now_us, moved
        else:
            self._rests.pop(disk, None)

    def rests(self, disk: str, *, moved: Moved, now_us: int) -> bool:
        """Say whether a disk still rests; moved: its counters now."""
        told_us, then = self._rests.get(disk, (0, None))
        return then == moved and now_us - told_us <= self._valid_us
