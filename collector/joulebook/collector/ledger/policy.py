"""Who pays for idle floors. Apart from the weights, so that reading a configuration needs no numpy."""

from enum import StrEnum


class Policy(StrEnum):
    """Who pays for a machine's idle floor."""

    RESERVED = "reserved"  # who holds the capacity, used or not; what nobody holds is idle
    ACTIVE = "active"  # who uses the machine
    NONE = "none"  # nobody: all of it is idle
