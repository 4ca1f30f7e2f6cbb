"""A PDU by SNMP: Debian's snmpd, up, lying, hung and gone."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysnmp.proto import rfc1902, rfc1905

from joulebook.agent.asked import is_timeout
from joulebook.agent.meters.bmc import AskError
from joulebook.agent.meters.pdu import Pdu, _number
from joulebook.agent.meters.pdu_outlets import parse_outlet
from joulebook.agent.source import ABSENT, WORKING
from tests.servers.snmpd import Pdu as Server
from tests.servers.snmpd import snmpd

_APC = "1.3.6.1.4.1.318.1.1.26.9.4.3.1.7"
_RARITAN = "1.3.6.1.4.1.13742.6.5.4.3.1.4"
_LONG_S = 90.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a PDU."""
    with snmpd(tmp_path_factory.mktemp("pdu") / "snmpd") as server:
        yield server


@pytest.fixture
def pdus() -> Iterator[list[Pdu]]:
    """Return where askers go that the test does not close itself."""
    made: list[Pdu] = []
    yield made
    for pdu in made:
        pdu.close()


def _pdu(
    server: Server,
    pdus: list[Pdu],
    *outlets: str,
    lines: tuple[str, ...] = ("community public",),
    timeout_s: float = _LONG_S,
) -> Pdu:
    named = [parse_outlet(f"{server.address}/{outlet}") for outlet in outlets]
    pdu = Pdu(named, server.credentials(*lines), 10_000_000, timeout_s)
    pdus.append(pdu)
    return pdu


def test_outlets_are_summed(server: Server, pdus: list[Pdu]) -> None:
    """The node is the sum of its feeds, of whatever vendor and unit, as they are at each question."""
    server.show(f"{_APC}.3", 210)
    server.show(f"{_RARITAN}.1.4.5", 190)
    server.show("1.3.6.1.4.1.318.9.1", 12)
    pdu = _pdu(server, pdus, "apc/3", "raritan/1.4", "10000/1.3.6.1.4.1.318.9.1")
    assert pdu.read().power_mw == 520_000
    server.show(f"{_APC}.3", 310)
    answer = pdu.read()
    assert (answer.power_mw, answer.step_mw, answer.way) == (620_000, 12_000, "SNMP")


def test_version_3_needs_no_word_in_the_clear(server: Server, pdus: list[Pdu]) -> None:
    """With user, authentication and privacy the same is told; a wrong word is not."""
    server.show(f"{_APC}.3", 77)
    lines = ("username reader", "password an authentication word", "privacy a privacy word")
    assert _pdu(server, pdus, "apc/3", lines=lines).read().power_mw == 77_000
    wrong = _pdu(server, pdus, "apc/3", lines=(lines[0], "password another word", lines[2]))
    with pytest.raises(AskError, match=r"127\.0\.0\.1: ") as caught:
        wrong.read()
    assert "agent.pdu.credentials" in caught.value.fix
    assert "another word" not in str(caught.value)


@pytest.mark.parametrize("value", [0, 4294967295])
def test_lies_are_no_power(server: Server, pdus: list[Pdu], value: int) -> None:
    """A node that asks is fed by something, and by less than megawatts."""
    server.show(f"{_APC}.5", value)
    pdu = _pdu(server, pdus, "apc/5")
    with pytest.raises(AskError, match="the PDU says"):
        pdu.read()
    server.show(f"{_APC}.5", 205)
    assert pdu.read().power_mw == 205_000


def test_a_negative_power_is_refused(server: Server, pdus: list[Pdu]) -> None:
    """A signed object below zero is a lie as well."""
    server.show(f"{_APC}.8", -5, kind="integer")
    with pytest.raises(AskError, match="the PDU says -5 W"):
        _pdu(server, pdus, "apc/8").read()


def test_what_is_not_there_or_no_number_is_named(server: Server, pdus: list[Pdu]) -> None:
    """One outlet that is missing makes no smaller sum; its OID is told."""
    server.show(f"{_APC}.3", 210)
    server.show(f"{_APC}.6", "hello", kind="string")
    with pytest.raises(AskError, match=r"26\.9\.4\.3\.1\.7\.44 is .*not a number") as caught:
        _pdu(server, pdus, "apc/3", "apc/44").read()
    assert "agent.pdu.outlets" in caught.value.fix
    with pytest.raises(AskError, match="'hello', not a number"):
        _pdu(server, pdus, "apc/6").read()


def test_a_hung_pdu_is_left_in_time_and_found_again(server: Server, pdus: list[Pdu]) -> None:
    """A PDU that answers nothing costs the asker's own thread some seconds, and no more."""
    server.show(f"{_APC}.3", 210)
    impatient = _pdu(server, pdus, "apc/3", timeout_s=0.5)
    server.hang()
    try:
        with pytest.raises(AskError, match="no SNMP response") as caught:
            impatient.read()
        assert is_timeout(caught.value)
    finally:
        server.go_on()
    pdu = _pdu(server, pdus, "apc/3")
    deadline = time.monotonic() + _LONG_S
    while True:
        try:
            assert pdu.read().power_mw == 210_000
            break
        except AskError:
            assert time.monotonic() < deadline


def test_a_pdu_that_is_gone_or_closed_to_us_is_told(server: Server, pdus: list[Pdu]) -> None:
    """Nobody at the address and a wrong community look alike: nothing is answered."""
    wrong = _pdu(server, pdus, "apc/3", lines=("community private",), timeout_s=0.5)
    with pytest.raises(AskError, match="no SNMP response") as caught:
        wrong.read()
    assert "agent.pdu.credentials" in caught.value.fix


def test_a_name_that_is_none_is_told(
    server: Server, pdus: list[Pdu], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that cannot be found is a reason of its own."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    pdu = Pdu([parse_outlet("pdu-a/apc/1")], server.credentials("community public"), 1)
    pdus.append(pdu)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(AskError, match=r"pdu-a: .*not known"):
        pdu.read()


def test_credentials_that_do_not_do_are_told(server: Server, pdus: list[Pdu]) -> None:
    """A file without user or community says what it should have."""
    with pytest.raises(AskError, match="neither community nor username") as caught:
        _pdu(server, pdus, "apc/3", lines=("password x",)).read()
    assert "community WORD" in caught.value.fix


def test_without_pysnmp_the_extra_is_named(
    server: Server, pdus: list[Pdu], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent without the extra says how to have it."""
    monkeypatch.setitem(sys.modules, "pysnmp.hlapi.v3arch", None)
    with pytest.raises(AskError, match="pysnmp is not installed") as caught:
        _pdu(server, pdus, "apc/3").read()
    assert caught.value.fix == "pip install 'joulebook[snmp]'"


def test_no_outlets_is_absence(tmp_path: Path) -> None:
    """Where nothing is configured there is nothing to ask."""
    assert Pdu([], tmp_path, 1).probe().state == ABSENT
    assert Pdu([parse_outlet("pdu/apc/1")], tmp_path, 1).probe().state == WORKING


_VALUES = (
    st.integers(-(1 << 31), (1 << 31) - 1).map(rfc1902.Integer32)
    | st.integers(0, (1 << 64) - 1).map(rfc1902.Counter64)
    | st.binary(max_size=40).map(rfc1902.OctetString)
    | st.binary(max_size=40).map(rfc1902.Opaque)
    | st.binary(min_size=4, max_size=4).map(rfc1902.IpAddress)
    | st.lists(st.integers(0, 39), min_size=2, max_size=9).map(
        lambda ids: rfc1902.ObjectIdentifier((1, *ids))
    )
    | st.sampled_from([rfc1905.noSuchObject, rfc1905.noSuchInstance, rfc1905.endOfMibView])
)


@given(_VALUES)
def test_a_value_of_any_kind_is_a_number_or_named(value: object) -> None:
    """Whatever object a PDU has at an outlet's place, it is a whole number or an error naming it."""
    with suppress(AskError):
        assert type(_number("pdu", "1.2.3", value)) is int
