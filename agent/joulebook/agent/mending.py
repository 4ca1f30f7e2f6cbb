"""What mends a thing that cannot be read, where who reads it knows nothing better."""

FIX_PERMISSION = (
    "give the agent CAP_DAC_READ_SEARCH (systemd: AmbientCapabilities=CAP_DAC_READ_SEARCH), or run it as root"
)
# The kernel's files are its drivers' words: what is garbled there was garbled by a driver or a device.
FIX_DEVICE = (
    "look into the kernel's log for this device (`journalctl -k`); load its driver anew, or update kernel "
    "and firmware"
)
FIX_OURS = "report this, with what the agent's log says"


def fix_of(error: Exception) -> str:
    """Return what mends an error: as it says itself, else by its kind."""
    if own := str(getattr(error, "fix", "")):
        return own
    if isinstance(error, PermissionError):
        return FIX_PERMISSION
    return FIX_DEVICE if isinstance(error, (OSError, ValueError, IndexError)) else FIX_OURS
