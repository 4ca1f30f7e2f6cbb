"""What the ways to a node's power can be told."""

from typing import Any

import pytest

from joulebook.agent.meters.node_config import IpmiConfig, PduConfig, RedfishConfig


@pytest.mark.parametrize(
    "config",
    [
        IpmiConfig(),
        IpmiConfig(address="bmc17:623", credentials="/etc/joulebook/bmc"),
        IpmiConfig(sensors=["PSU1 Input"]),
        RedfishConfig(),
        RedfishConfig(url="https://bmc17.example.org"),
        RedfishConfig(url="https://[fe80::1]:8443/", ca="/etc/joulebook/bmc-ca.pem", chassis=["1U"]),
        RedfishConfig(url="http://169.254.0.17"),
        RedfishConfig(url="http://127.0.0.1:8000"),
        PduConfig(),
        PduConfig(outlets=["pdu-a/apc/7", "pdu-b/apc/7"], credentials="/etc/joulebook/pdu"),
    ],
)
def test_what_is_in_order_has_no_errors(config: Any) -> None:
    """Defaults and the forms of the documentation pass."""
    assert config.errors() == []


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (IpmiConfig(period_s=0), "agent.ipmi.period_s = 0: expected 1 to 300"),
        (IpmiConfig(address="bmc17"), "agent.ipmi.credentials = '': expected a file"),
        (IpmiConfig(address="-oProxy", credentials="/x"), "agent.ipmi.address = '-oProxy': expected host"),
        (IpmiConfig(credentials="x"), "agent.ipmi.credentials = 'x': expected an absolute path"),
        (RedfishConfig(url="bmc17"), "agent.redfish.url = 'bmc17': expected https"),
        (RedfishConfig(url="http://bmc17"), "agent.redfish.url = 'http://bmc17': expected https"),
        (RedfishConfig(url="http://10.0.0.1"), "agent.redfish.url"),
        (RedfishConfig(url="https://admin:x@bmc17"), "agent.redfish.url"),
        (RedfishConfig(url="https://bmc17/redfish/v1"), "agent.redfish.url"),
        (RedfishConfig(url="https://bmc17:x"), "agent.redfish.url"),
        (RedfishConfig(ca="ca.pem"), "agent.redfish.ca = 'ca.pem': expected an absolute path"),
        (PduConfig(outlets=["pdu/acp/7"], credentials="/x"), "agent.pdu.outlets: 'pdu/acp/7': expected apc"),
        (PduConfig(outlets=["pdu/apc/7"]), "agent.pdu.credentials = '': expected a file"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected(config: Any, error: str) -> None:
    """One line a fault, beginning with the key."""
    (line,) = config.errors()
    assert line.startswith(error)
