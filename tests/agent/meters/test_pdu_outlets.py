"""How outlets of PDUs are named."""

import pytest

from joulebook.agent.meters.pdu_outlets import Outlet, parse_outlet


@pytest.mark.parametrize(
    ("text", "outlet"),
    [
        (
            "pdu-a.example.org/apc/7",
            Outlet("pdu-a.example.org", 161, "1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.7", 1000),
        ),
        (
            "10.0.0.5:1161/raritan/1.12",
            Outlet("10.0.0.5", 1161, "1.3.6.1.4.1.13742.6.5.4.3.1.4.1.12.5", 1000),
        ),
        (
            "[fe80::5]:161/servertech/1.1.3",
            Outlet("fe80::5", 161, "1.3.6.1.4.1.1718.4.1.8.3.1.7.1.1.3", 1000),
        ),
        ("pdu/10000/.1.3.6.1.4.1.318.5.1", Outlet("pdu", 161, "1.3.6.1.4.1.318.5.1", 10_000)),
    ],
)
def test_an_outlet_is_an_object_in_watts(text: str, outlet: Outlet) -> None:
    """Vendors' outlets and any object with its unit become one OID and a scale."""
    assert parse_outlet(text) == outlet


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "HOST"),
        ("pdu", "apc, raritan, servertech"),
        ("pdu/acp/7", "apc, raritan, servertech"),
        ("pdu/apc/", r"1 number"),
        ("pdu/apc/1.2", r"1 number"),
        ("pdu/raritan/7", r"2 number"),
        ("pdu:99999/apc/7", "HOST"),
        ("-v/apc/7;x", "1 number"),
        ("pd u/apc/7", "HOST"),
        ("pdu/0/1.3.6.1", "mW a unit"),
        ("pdu/1000/1.3.x", "OID"),
        ("pdu/1000/9.3.6.1.4", "OID"),
    ],
)
def test_what_is_no_outlet_is_told_with_what_was_expected(text: str, expected: str) -> None:
    """Each fault of a name says what should have stood there."""
    with pytest.raises(ValueError, match=expected):
        parse_outlet(text)
