"""What the ways to a node's power can be told: sections [agent.ipmi], [agent.redfish] and [agent.pdu]."""

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from joulebook.agent.meters.pdu_outlets import parse_outlet

_LEAST_PERIOD_S, _MOST_PERIOD_S = 1, 300


def _period_errors(section: str, period_s: float) -> list[str]:
    if _LEAST_PERIOD_S <= period_s <= _MOST_PERIOD_S:
        return []
    return [f"agent.{section}.period_s = {period_s}: expected {_LEAST_PERIOD_S} to {_MOST_PERIOD_S}"]


def _file_errors(key: str, path: str) -> list[str]:
    return (
        [] if not path or Path(path).is_absolute() else [f"agent.{key} = {path!r}: expected an absolute path"]
    )


class IpmiConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.ipmi] of the configuration."""

    # Whether the BMC is asked by IPMI at all.
    enabled: bool = True
    # host or host:port of the BMC, to ask it over LAN through FreeIPMI; empty: in band, through /dev/ipmi0.
    address: str = ""
    # File of the BMC's user over LAN, as freeipmi.conf: lines `username NAME` and `password WORD`; mode 0640.
    credentials: str = ""
    # Names of watt sensors whose sum is the node, where DCMI is not to be asked: ["PSU1 Input", "PSU2 Input"]
    sensors: list[str] = msgspec.field(default_factory=list)
    period_s: float = 5.0

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = _period_errors("ipmi", self.period_s)
        wrong += _file_errors("ipmi.credentials", self.credentials)
        if self.address.startswith("-") or any(c.isspace() or c == "/" for c in self.address):
            wrong.append(f"agent.ipmi.address = {self.address!r}: expected host or host:port")
        if self.address and not self.credentials:
            wrong.append("agent.ipmi.credentials = '': expected a file, since agent.ipmi.address is set")
        return wrong


class RedfishConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.redfish] of the configuration."""

    # Where the BMC's Redfish service is: https://bmc17.example.org; empty: nowhere.
    url: str = ""
    # File of two lines, `username NAME` and `password WORD`; mode 0640.
    credentials: str = ""
    # PEM file of the authority that signed the BMC's certificate, or of that certificate itself; empty: the
    # system's authorities.
    ca: str = ""
    # The name in the BMC's certificate, where that is not the one in url.
    certificate_name: str = ""
    # Chassis that are this node, by name or path; empty: the one of the system that has this host's UUID or
    # serial number.
    chassis: list[str] = msgspec.field(default_factory=list)
    period_s: float = 10.0

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = _period_errors("redfish", self.period_s)
        wrong += _file_errors("redfish.credentials", self.credentials) + _file_errors("redfish.ca", self.ca)
        if self.url and not _is_service(self.url):
            expected = "expected https://HOST[:PORT], or http:// to a loopback or link-local address"
            wrong.append(f"agent.redfish.url = {self.url!r}: {expected}")
        return wrong


class PduConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.pdu] of the configuration."""

    # The outlets that feed this node, HOST[:PORT]/MODEL/OUTLET each: ["pdu-a.example.org/apc/7"]. Models:
    # apc, raritan (1.7: the seventh of the first unit), servertech (1.1.7), or the number of mW that a
    # unit is, with the whole OID: "pdu/10000/1.3.6.1.4.1.318.1.1.26.4.3.1.5.1".
    outlets: list[str] = msgspec.field(default_factory=list)
    # File of a line `community WORD`, or for SNMP v3 of `username NAME`, `password WORD` and `privacy WORD`;
    # mode 0640.
    credentials: str = ""
    period_s: float = 10.0

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = _period_errors("pdu", self.period_s) + _file_errors("pdu.credentials", self.credentials)
        for outlet in self.outlets:
            try:
                parse_outlet(outlet)
            except ValueError as error:
                wrong.append(f"agent.pdu.outlets: {outlet!r}: {error}")
        if self.outlets and not self.credentials:
            wrong.append("agent.pdu.credentials = '': expected a file, since agent.pdu.outlets is set")
        return wrong


def _is_service(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not host or parts.path not in ("", "/") or parts.query or parts.username:
        return False
    if parts.scheme == "https":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    # A BMC's own interface to its host has a link-local address and often no certificate (DSP0270).
    return parts.scheme == "http" and (address.is_loopback or address.is_link_local)
