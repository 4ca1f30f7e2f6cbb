"""Where PDUs show the power of an outlet: objects of the vendors' MIBs."""

import re
from dataclasses import dataclass

_OID = re.compile(r"\.?(?:0|1|2)(?:\.\d{1,10}){2,64}")
_INDEX = re.compile(r"\d{1,5}(?:\.\d{1,5}){0,3}")
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>\d{1,5}))?")
# Each with the number of parts in an outlet's index. All are in watts.
_MODELS = {
    # rPDU2OutletMeteredStatusPower of PowerNet-MIB, by the number of the outlet.
    "apc": ("1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.{}", 1),
    # measurementsOutletSensorValue of PDU2-MIB, by unit and outlet; sensor type 5 is active power.
    "raritan": ("1.3.6.1.4.1.13742.6.5.4.3.1.4.{}.5", 2),
    # st4OutletActivePower of Sentry4-MIB, by unit, cord and outlet.
    "servertech": ("1.3.6.1.4.1.1718.4.1.8.3.1.7.{}", 3),
}
_MW_PER_W = 1000
_MOST_SCALE_MW = 1_000_000_000
_PORT = 161


@dataclass(frozen=True, slots=True)
class Outlet:
    """One object of one agent, and how many mW a unit of it is."""

    host: str
    port: int
    oid: str
    scale_mw: int


def parse_outlet(text: str) -> Outlet:
    """Parse HOST[:PORT]/MODEL/OUTLET or HOST[:PORT]/MW/OID. Raises ValueError that says what was expected."""
    where, _, rest = text.partition("/")
    model, _, number = rest.partition("/")
    address = _ADDRESS.fullmatch(where)
    port = int(address["port"] or _PORT) if address else 0
    if address is None or not 0 < port < 65536:
        raise ValueError(f"expected HOST[:PORT]/MODEL/OUTLET, not the host {where!r}")
    host = address["host"].strip("[]")
    if model in _MODELS:
        oid, parts = _MODELS[model]
        if not _INDEX.fullmatch(number) or number.count(".") != parts - 1:
            raise ValueError(f"expected an outlet of {parts} number(s) with dots between, not {number!r}")
        return Outlet(host, port, oid.format(number), _MW_PER_W)
    if not model.isdigit() or not 0 < int(model) <= _MOST_SCALE_MW:
        raise ValueError(f"expected {', '.join(_MODELS)} or a number of mW a unit, not {model!r}")
    if not _OID.fullmatch(number):
        raise ValueError(f"expected an OID such as 1.3.6.1.4.1.318.1.1.26.4.3.1.5.1, not {number!r}")
    return Outlet(host, port, number.strip("."), int(model))
