"""What every way to a node's power has in common: what it tells, and how it fails."""

from dataclasses import dataclass
from pathlib import Path

# No node that runs draws less, and none more: 0 W and 65535 W are what a BMC says that knows nothing.
_LEAST_MW = 1000
MOST_MW = 60_000_000
# A user and a password, and nothing like a key or a whole file.
_MOST_BYTES = 16_384


class AskError(OSError):
    """A question that was not answered believably; fix says what mends it, timed_out that nothing came."""

    def __init__(self, reason: str, fix: str = "", *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.fix = fix
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class NodePower:
    """The node's power: its step, over how long it is averaged (0: momentary), and the energy since whenever.

    energy_uj is -1 where no counter is told; energy_step_uj is the counter's smallest step.
    """

    power_mw: int
    step_mw: int = 1000
    window_us: int = 0
    energy_uj: int = -1
    energy_step_uj: int = 0
    way: str = ""


def believable(power_mw: int, who: str) -> int:
    """Return a node's power, or raise AskError where no node that runs can draw it."""
    if not _LEAST_MW <= power_mw <= MOST_MW:
        reason = f"{who} says {power_mw / 1000:g} W: no running node draws that"
        raise AskError(reason, "look at what the device's own page shows; update or restart it")
    return power_mw


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's name and password."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Keep the password out of logs."""
        return f"Credentials({self.username!r})"


def parse_lines(text: str) -> dict[str, str]:
    """Parse lines of a key, a space and a value, as in freeipmi.conf(5); # begins a comment."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#") and value.strip():
            found[key] = value.strip()
    return found


def read_lines(path: Path, setting: str) -> dict[str, str]:
    """Read a file of secrets. AskError: it cannot be read, or others may read it too."""
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            data = file.read(_MOST_BYTES)
    except OSError as error:
        fix = f"set {setting} to a file that the agent may read: chown root:joulebook, chmod 640"
        raise AskError(f"{path}: {error.strerror}", fix) from error
    # The agent's group may read what root owns.
    if mode & 0o037:
        raise AskError(
            f"{path} has mode {mode & 0o777:04o}: others may read the password", f"chmod 640 {path}"
        )
    return parse_lines(data.decode(errors="replace"))


def read_credentials(path: Path, setting: str) -> Credentials:
    """Read a file of `username NAME` and `password WORD`. AskError: it cannot be had, or lacks one."""
    lines = read_lines(path, setting)
    for key in ("username", "password"):
        if key not in lines:
            fix = f"write two lines into {path}, `username NAME` and `password WORD`"
            raise AskError(f"{path}: no line `{key} …`", fix)
    return Credentials(lines["username"], lines["password"])
