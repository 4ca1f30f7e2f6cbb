"""Ask a node's BMC for its power by Redfish, in the chassis that holds this host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.meters.bmc import AskError, NodePower, believable
from joulebook.agent.meters.redfish_documents import (
    Document,
    HostIdentity,
    at,
    control_power,
    environment_power,
    is_this_host,
    link,
    links,
    sensor_window_us,
    supply_power,
)
from joulebook.agent.meters.redfish_http import GoneError, RedfishService
from joulebook.agent.source import WORKING, Finding
from joulebook.agent.source_facts import SourceFacts

FACTS = SourceFacts(
    name="redfish",
    what="power of the node (`node`), as its BMC shows it; by a counter of fine steps as `redfish_energy`",
    where="EnvironmentMetrics, else Power, else the power supplies' inputs, over https (`[agent.redfish]`)",
    unit="W; J or kWh",
    period="`agent.redfish.period_s` (10 s), or the sensor's averaging or sensing interval where longer",
    accuracy="±5 %, as ENERGY STAR for servers asks of the input's power",
    privilege="a user of the BMC who may read",
    cost="0.6 ms CPU an answer, beside the tick (https on loopback)",
    documentation="DMTF DSP0266, DSP0268; ENERGY STAR for servers 3.0",
)

_ROOT = "/redfish/v1/"
_CHASSIS = "/redfish/v1/Chassis"
_FIX_CHASSIS = "set agent.redfish.chassis to the chassis that is this node"
# More than a rack has; each costs a question.
_MOST_MEMBERS = 64


def read_identity(sysfs: Path) -> HostIdentity:
    """Read who this machine is: /sys/class/dmi/id, Documentation/ABI/testing/sysfs-firmware-dmi-tables."""

    def text(name: str) -> str:
        try:
            return (sysfs / "class/dmi/id" / name).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return ""

    return HostIdentity(text("product_uuid"), text("product_serial"))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a chassis tells its power, and over how long that is averaged."""

    way: str
    paths: tuple[str, ...]
    window_us: int = 0


class Redfish:
    """One BMC's service: EnvironmentMetrics where a chassis has it, else Power, else the supplies' inputs."""

    name = "redfish"
    accuracy_ppm = 50_000

    def __init__(
        self,
        service: RedfishService,
        host: HostIdentity,
        chassis: Sequence[str] = (),
        period_us: int = 10_000_000,
    ) -> None:
        self.period_us = period_us
        self._service = service
        self._host = host
        self._named = tuple(chassis)
        self._places: list[_Place] = []

    def probe(self) -> Finding:
        """Say that there is a service to ask: the configuration names it."""
        return Finding(self.name, WORKING)

    def read(self) -> NodePower:
        """Ask. AskError: no believable answer came."""
        try:
            if not self._places:
                self._places = self._find()
            powers = [self._power(place) for place in self._places]
        except GoneError:
            # Paths change with a BMC's firmware.
            self._places = []
            raise
        power_mw = believable(sum(power.power_mw for power in powers), "Redfish")
        if len(powers) == 1:
            return powers[0]
        window_us = max(power.window_us for power in powers)
        return NodePower(power_mw, sum(p.step_mw for p in powers), window_us, way=powers[0].way)

    def close(self) -> None:
        """End session and connection."""
        self._service.close()

    def _power(self, place: _Place) -> NodePower:
        documents = [self._service.get(path) for path in place.paths]
        if place.way == "EnvironmentMetrics":
            power = environment_power(documents[0])
            if power is None:
                raise AskError(f"{place.paths[0]}: PowerWatts has no reading")
            return NodePower(
                power.power_mw,
                power.step_mw,
                place.window_us,
                power.energy_uj,
                power.energy_step_uj,
                power.way,
            )
        if place.way == "Power":
            return control_power(documents[0], place.paths[0])
        return supply_power(documents, place.paths[0])

    def _find(self) -> list[_Place]:
        places = []
        candidates = self._chassis()
        found = [(path, place) for path, document in candidates if (place := self._place(document))]
        if not found:
            paths = ", ".join(path for path, _ in candidates) or "none"
            raise AskError(f"no chassis of this node tells its power: {paths}", _FIX_CHASSIS)
        if len(found) > 1 and not self._named:
            there = ", ".join(path for path, _ in found)
            raise AskError(f"which chassis is the whole node cannot be told: {there}", _FIX_CHASSIS)
        places = [place for _, place in found]
        if self._named and len(found) < len(candidates):
            silent = next(path for path, _ in candidates if path not in dict(found))
            raise AskError(f"{silent} tells no power", "correct agent.redfish.chassis")
        return places

    def _chassis(self) -> list[tuple[str, Document]]:
        """Return the chassis that hold this host, those within others of them left out."""
        if self._named:
            paths = [name if name.startswith("/") else f"{_CHASSIS}/{name}" for name in self._named]
            return [(path, self._service.get(path)) for path in paths]
        system = self._system()
        paths = list(dict.fromkeys(links(at(system, "Links", "Chassis"))))[:_MOST_MEMBERS]
        documents = {path: self._service.get(path) for path in paths}
        outer = {
            path: document
            for path, document in documents.items()
            if link(document, "Links", "ContainedBy") not in documents
        }
        return list((outer or documents).items())

    def _system(self) -> Document:
        root = self._service.get(_ROOT)
        collection = self._service.get(link(root, "Systems") or "/redfish/v1/Systems")
        paths = links(collection.get("Members"))[:_MOST_MEMBERS]
        systems = [(path, self._service.get(path)) for path in paths]
        mine = [document for _, document in systems if is_this_host(document, self._host)]
        if len(mine) == 1:
            return mine[0]
        if len(systems) == 1 and not (self._host.uuid or self._host.serial):
            # Nothing to compare by, and nothing to confuse it with.
            return systems[0][1]
        if not systems:
            raise AskError("the BMC has no system", "update or restart the BMC")
        there = ", ".join(f"{path} (UUID {document.get('UUID')})" for path, document in systems)
        mine_is = self._host.uuid or self._host.serial or "not readable (CAP_DAC_READ_SEARCH)"
        raise AskError(
            f"none of the BMC's systems is this host, whose UUID is {mine_is}: {there}", _FIX_CHASSIS
        )

    def _place(self, chassis: Document) -> _Place | None:
        if path := link(chassis, "EnvironmentMetrics"):
            document = self._optional(path)
            if document is not None and environment_power(document) is not None:
                return _Place("EnvironmentMetrics", (path,), self._window_us(document))
        if path := link(chassis, "Power"):
            document = self._optional(path)
            if document is not None and document.get("PowerControl"):
                return _Place("Power", (path,))
        if path := link(chassis, "PowerSubsystem"):
            subsystem = self._optional(path) or {}
            supplies = self._optional(link(subsystem, "PowerSupplies")) or {}
            members = [
                self._optional(member) or {} for member in links(supplies.get("Members"))[:_MOST_MEMBERS]
            ]
            metrics = tuple(path for member in members if (path := link(member, "Metrics")))
            if metrics and len(metrics) == len(members):
                return _Place("PowerSupplies", metrics)
        return None

    def _window_us(self, document: Document) -> int:
        uri = at(document, "PowerWatts", "DataSourceUri")
        sensor = self._optional(uri) if isinstance(uri, str) and uri.startswith("/") else None
        return sensor_window_us(sensor) if sensor else 0

    def _optional(self, path: str) -> Document | None:
        try:
            return self._service.get(path) if path else None
        except GoneError:
            return None
