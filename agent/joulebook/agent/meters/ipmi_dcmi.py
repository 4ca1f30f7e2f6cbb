"""DCMI's Get Power Reading as bytes: Data Center Manageability Interface 1.5, 6.6.1; IPMI 2.0, 5.2."""

from joulebook.agent.meters.bmc import AskError, NodePower, believable

NETFN_GROUP = 0x2C
GET_POWER_READING = 0x02
_DCMI = 0xDC
# Mode 1: system power statistics; the other two bytes are reserved.
REQUEST = bytes((_DCMI, 0x01, 0x00, 0x00))
_LENGTH = 19
_ACTIVE = 0x40

_UNSUPPORTED = (0xC1, 0xC2, 0xC9, 0xCC, 0xD6)
_NOT_ALLOWED = 0xD4
_FIX_RESTART = "restart the BMC (`bmc-device --cold-reset`)"
_FIX_PRIVILEGE = (
    "give the BMC's user a higher privilege, and have no `privilege-level` in agent.ipmi.credentials below it"
)
_CODES = {
    0xC0: "the BMC is busy",
    0xC3: "the BMC ran out of time",
    0xD3: "the management engine behind the BMC does not answer",
    _NOT_ALLOWED: "not allowed for this user",
    0xD5: "the BMC cannot do that now",
    0xFF: "unspecified error",
}


class UnsupportedError(AskError):
    """This BMC does not have the command."""


def check_completion(code: int) -> None:
    """Raise AskError for a completion code other than 0: IPMI 2.0, table 5-2."""
    if code in _UNSUPPORTED:
        raise UnsupportedError(
            f"the BMC does not have DCMI's power reading (completion code {code:#04x})",
            "name its watt sensors in agent.ipmi.sensors, or use Redfish (agent.redfish.url)",
        )
    if code:
        reason = _CODES.get(code, "the BMC refuses")
        fix = _FIX_PRIVILEGE if code == _NOT_ALLOWED else _FIX_RESTART
        raise AskError(f"{reason} (completion code {code:#04x})", fix)


def parse_power_reading(data: bytes) -> NodePower:
    """Parse an answer from its completion code on.

    Current power, then minimum, maximum and average since the last reset, in whole watts, little endian.
    """
    if not data:
        raise AskError("the BMC's answer is empty")
    check_completion(data[0])
    if len(data) < _LENGTH or data[1] != _DCMI:
        raise AskError(f"the BMC's answer {data.hex(' ')} is no DCMI power reading of {_LENGTH} bytes")
    if not data[_LENGTH - 1] & _ACTIVE:
        raise AskError(
            "the BMC does not measure power now (DCMI power measurement is not active)",
            "switch power monitoring on in the BMC's set-up",
        )
    current_w = int.from_bytes(data[2:4], "little")
    return NodePower(believable(current_w * 1000, "DCMI"), way="DCMI")
