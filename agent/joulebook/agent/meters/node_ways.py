"""Every way to a node's power beside the tick, as the configuration has them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.meters.node_config import IpmiConfig, PduConfig, RedfishConfig
from joulebook.agent.meters.node_meter import NodeMeter
from joulebook.agent.meters.node_way import Asker, NodeWay, NoWay, begin
from joulebook.agent.meters.pdu import Pdu
from joulebook.agent.meters.pdu_outlets import parse_outlet
from joulebook.agent.source import Roots


@dataclass(frozen=True, slots=True)
class NodeWays:
    """Meters of the node, the better ones first: those of the BMC go before an ACPI meter, PDUs after it."""

    bmc: tuple[NodeMeter, ...]
    pdu: NodeMeter


def node_ways(
    roots: Roots, ipmi: IpmiConfig, redfish: RedfishConfig, pdu: PduConfig, patience_s: float
) -> NodeWays:
    """Build each way and have all ask; wait for first answers no longer than patience_s."""
    askers = by_redfish, by_ipmi, by_pdu = (
        Asker(_redfish(roots, redfish), jitter=_jitter),
        Asker(_ipmi(roots, ipmi), jitter=_jitter),
        Asker(
            Pdu([parse_outlet(one) for one in pdu.outlets], Path(pdu.credentials), _us(pdu.period_s)),
            jitter=_jitter,
        ),
    )
    begin(askers, patience_s)
    return NodeWays(
        (NodeMeter(by_redfish, by_counter=True), NodeMeter(by_ipmi), NodeMeter(by_redfish)),
        NodeMeter(by_pdu),
    )


# Each is imported where it is used only: their libraries are megabytes that most agents do without.


def _redfish(roots: Roots, config: RedfishConfig) -> NodeWay:
    if not config.url:
        return NoWay("redfish", "no agent.redfish.url")
    from joulebook.agent.meters.redfish import Redfish, read_identity  # noqa: PLC0415
    from joulebook.agent.meters.redfish_http import RedfishService  # noqa: PLC0415

    credentials, ca = _path(config.credentials), _path(config.ca)
    service = RedfishService(config.url, credentials, ca, config.certificate_name)
    return Redfish(service, read_identity(roots.sysfs), config.chassis, _us(config.period_s))


def _ipmi(roots: Roots, config: IpmiConfig) -> NodeWay:
    if not config.enabled:
        return NoWay("ipmi", "agent.ipmi.enabled is false")
    from joulebook.agent.meters.ipmi import Ipmi  # noqa: PLC0415

    credentials = _path(config.credentials)
    return Ipmi(roots.devfs, config.address, credentials, config.sensors, _us(config.period_s))


def _jitter() -> float:
    # A load that kept step with the asking would be seen at its top, or its bottom, alone.
    return random.uniform(0.75, 1.25)


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)
