"""Ask NVMe disks for their power state and SMART log, those that are awake, where that is switched on."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from joulebook.agent.source import Device, Metric, Roots
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.sysfs import text
from joulebook.agent.usage import nvme_admin
from joulebook.agent.usage.beside import Answered, Told, Unread, answered, device_name
from joulebook.agent.usage.nvme_admin import Admin, PowerState
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2

# So many askings between two of the SMART log: what it holds moves slowly, and reading it may bring a disk
# out of a state of deep rest that it went into by itself.
_SMART_EVERY = 30
# What the kernel says of a device that it has not suspended: Documentation/ABI/testing/sysfs-devices-power.
_AWAKE = "active"
_FIX_ANSWER = "compare with `nvme smart-log`; update the disk's firmware, or replace it where it fails"
_FIX = (
    "give the agent CAP_SYS_ADMIN and the devices: deploy/systemd/nvme.conf as a drop-in of its service, or "
    "run it as root; or set agent.nvme.enabled = false"
)

FACTS = SourceFacts(
    name="nvme",
    what="of each NVMe controller on PCIe its power state and the most that it draws in it, temperature, "
    "spare, wear, media errors and warnings; whether it is suspended",
    where="`NVME_IOCTL_ADMIN_CMD` on `/dev/nvme*`: Get Features 02h, SMART log, Identify Controller once "
    "(`[agent.nvme]`)",
    unit="power states, K, per cent",
    period="10 s, beside the tick; SMART every 5 minutes, and not in a state of rest",
    accuracy="as the controller tells; the power is what its state allows at most, and is not booked",
    privilege="`CAP_SYS_ADMIN` and `/dev/nvme*` (`deploy/systemd/nvme.conf`); off unless "
    "`agent.nvme.enabled`",
    cost="not measured: tested on constructed answers by the specification, no NVMe disk was at hand",
    documentation="NVM Express Base Specification 2.0; linux/nvme_ioctl.h",
)


class NvmeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.nvme] of the configuration."""

    # Asks NVMe disks that are awake for power state and SMART log; needs CAP_SYS_ADMIN, see
    # deploy/systemd/nvme.conf.
    enabled: bool = False

    def errors(self) -> list[str]:
        """Return nothing: any value will do."""
        return []


@dataclass(slots=True)
class _Known:
    """What a controller told: its states once, its SMART figures when they were asked for last."""

    states: tuple[PowerState, ...] = ()
    figures: dict[Metric, int] = field(default_factory=dict)
    smart_due: int = 0


class NvmeDisks:
    """Asks each controller on PCIe; one that is suspended gets no command and keeps its figures."""

    name = "nvme"
    absent = "agent.nvme.enabled is false, or no NVMe disk on PCIe"

    def __init__(self, roots: Roots, config: NvmeConfig, admin: Admin = nvme_admin.send) -> None:
        self._directory = roots.sysfs / "class/nvme"
        self._devfs = roots.devfs
        self._enabled = config.enabled
        self._admin = admin
        self._known: dict[str, _Known] = {}
        self._asked = 0

    def is_there(self) -> bool:
        """Say whether it is switched on, and there is a disk."""
        return self._enabled and bool(self._controllers())

    def ask(self) -> Answered:
        """Ask those that are awake."""
        told: list[Told] = []
        unread: list[Unread] = []
        controllers = self._controllers()
        self._known = {path.name: self._known.get(path.name, _Known()) for path in controllers}
        for path in controllers:
            name = device_name(path.name)
            known = self._known[path.name]
            try:
                is_awake = _text(path / "device/power/runtime_status") == _AWAKE
                if is_awake:
                    self._ask(path, known)
            except PermissionError as error:
                unread.append(Unread(name, error.strerror or "not permitted", _FIX))
                continue
            except (OSError, ValueError) as error:
                unread.append(Unread(name, str(error), _FIX_ANSWER))
                continue
            device = Device(
                name,
                report_pb2.DEVICE_KIND_NVME,
                uuid=_text(path / "serial"),
                model=_text(path / "model"),
            )
            told.append(Told(device, {**known.figures, m.METRIC_DEVICE_DISK_SUSPENDED: int(not is_awake)}))
        self._asked += 1
        return answered(told, unread)

    def _ask(self, path: Path, known: _Known) -> None:
        device = self._devfs / path.name
        if not known.states:
            known.states = nvme_admin.power_states(self._admin, device)
        number = nvme_admin.power_state(self._admin, device)
        if number >= len(known.states):
            raise ValueError(f"power state {number}: expected 0 to {len(known.states) - 1}")
        state = known.states[number]
        known.figures[m.METRIC_DEVICE_DISK_POWER_STATE] = number
        known.figures[m.METRIC_DEVICE_DISK_STATE_POWER] = state.most_mw
        if self._asked < known.smart_due or not state.is_operational:
            return
        found = nvme_admin.smart(self._admin, device)
        known.smart_due = self._asked + _SMART_EVERY
        known.figures |= {
            m.METRIC_DEVICE_DISK_WARNINGS: found.warnings,
            m.METRIC_DEVICE_DISK_SPARE: found.spare_ppm,
            m.METRIC_DEVICE_DISK_USED: found.used_ppm,
            m.METRIC_DEVICE_DISK_MEDIA_ERRORS: found.media_errors,
        }
        if found.temperature_mc is not None:
            known.figures[m.METRIC_DEVICE_DISK_TEMPERATURE] = found.temperature_mc

    def _controllers(self) -> list[Path]:
        """Return the controllers on PCIe: those behind a network are another machine's."""
        paths = sorted(self._directory.glob("nvme[0-9]*"))
        return [path for path in paths if _text(path / "transport") == "pcie"]


def _text(path: Path) -> str:
    return text(path).decode(errors="replace")
