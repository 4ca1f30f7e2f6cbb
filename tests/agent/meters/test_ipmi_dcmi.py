"""DCMI's power reading as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.bmc import AskError
from joulebook.agent.meters.ipmi_dcmi import UnsupportedError, parse_power_reading


def _answer(current_w: int, state: int = 0x40) -> bytes:
    watts = b"".join(w.to_bytes(2, "little") for w in (current_w, 90, 320, 200))
    return bytes((0, 0xDC)) + watts + bytes.fromhex("084f0c6be8030000") + bytes((state,))


def test_watts_are_little_endian() -> None:
    """What a simulated BMC sent for 213 W is 213 W."""
    data = bytes.fromhex("00DCD500B4000401D300084F0C6BE803000040")
    assert parse_power_reading(data).power_mw == 213_000


@pytest.mark.parametrize("current_w", [0, 65535])
def test_what_a_bmc_says_that_knows_nothing_is_a_lie(current_w: int) -> None:
    """0 W and all bits set are no powers of a node that runs."""
    with pytest.raises(AskError, match=f"DCMI says {current_w} W: no running node"):
        parse_power_reading(_answer(current_w))


@pytest.mark.parametrize("code", [0xC1, 0xC9, 0xCC, 0xD6])
def test_an_unsupported_command_is_told_apart(code: int) -> None:
    """A BMC without DCMI may be asked by its sensors, and the reason names the completion code."""
    with pytest.raises(UnsupportedError, match=f"completion code {code:#04x}") as caught:
        parse_power_reading(bytes((code,)))
    assert "agent.ipmi.sensors" in caught.value.fix


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\xc0\xdc", "busy"),
        (b"\xd4", "not allowed"),
        (b"\x99", "refuses"),
        (_answer(213)[:-1], "no DCMI power reading"),
        (b"\x00\x00" + _answer(213)[2:], "no DCMI power reading"),
        (_answer(213, state=0), "does not measure power now"),
    ],
)
def test_what_is_no_reading_has_a_reason(data: bytes, reason: str) -> None:
    """Refusals, truncated answers and power measurement that is off are told as such."""
    with pytest.raises(AskError, match=reason):
        parse_power_reading(data)


def test_a_lack_of_privilege_is_mended_by_privilege() -> None:
    """A BMC that refuses the user is not told to be restarted."""
    with pytest.raises(AskError, match="not allowed for this user") as caught:
        parse_power_reading(b"\xd4\xdc")
    assert "privilege" in caught.value.fix


@given(st.binary(max_size=40))
def test_garbage_is_never_an_absurd_power(data: bytes) -> None:
    """Whatever a BMC sends is a power that a node can draw, or an error of ours."""
    try:
        power_mw = parse_power_reading(data).power_mw
    except AskError:
        return
    assert 1000 <= power_mw <= 60_000_000
