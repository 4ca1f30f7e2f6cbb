"""What FreeIPMI's programs print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.bmc import AskError
from joulebook.agent.meters.ipmi_text import WattSensor, choose_sensors, fault, parse_raw, parse_sensors
from tests.simulated.garbage import spoilt_bytes


def _watts(*names: str) -> list[WattSensor]:
    return [WattSensor(place, name, 100_000) for place, name in enumerate(names, start=1)]


def test_an_answer_begins_with_its_completion_code() -> None:
    """The command that ipmi-raw repeats is left out."""
    assert parse_raw("rcvd: 02 00 DC D5 00 \n") == bytes.fromhex("00DCD500")
    assert parse_raw("rcvd: 7F C1 DC \n")[0] == 0xC1


@given(st.text(max_size=60))
def test_anything_else_is_no_answer(text: str) -> None:
    """Whatever else is printed is an error of ours, with what was printed."""
    with pytest.raises(AskError, match="expected `rcvd: `"):
        parse_raw(text)


def test_only_watts_are_kept() -> None:
    """Of a server's sensors those in watts stay, also those that read nothing just now."""
    text = (
        "1,Ambient Temp,Temperature,24.00,Celsius,'OK'\n"
        "152,Pwr Consumption,Current,168.00,Watts,'OK'\n"
        "153,\"PSU1, Input\",Power Supply,N/A,Watts,'Unknown'\n"
        "garbage\n"
        "x,Power,Current,1.0,Watts,'OK'\n"
        "154,Huge,Current,1e999,Watts,'OK'\n"
        "155,None,Current,nan,Watts,'OK'\n"
    )
    assert parse_sensors(text) == [
        WattSensor(152, "Pwr Consumption", 168_000),
        WattSensor(153, "PSU1, Input", -1),
        WattSensor(154, "Huge", -1),
        WattSensor(155, "None", -1),
    ]


@pytest.mark.parametrize(
    ("there", "named", "chosen"),
    [
        (["Pwr Consumption", "PSU1 Input"], [], ["Pwr Consumption"]),
        (["Power Meter", "CPU Power", "Mem Power"], [], ["Power Meter"]),
        (["Sys Power", "CPU_Power", "MEM_Power", "Fan_Power"], [], ["Sys Power"]),
        (["Total_Power", "PSU1_Power"], [], ["Total_Power"]),
        (["PS1 Input Power", "PS2 Input Power", "CPU1 Power"], [], ["PS1 Input Power", "PS2 Input Power"]),
        (["PSU1 PIN", "PSU1 POUT", "PSU2 PIN", "PSU2 POUT"], [], ["PSU1 PIN", "PSU2 PIN"]),
        (["Power Meter", "Blade A", "Blade B"], ["Blade B"], ["Blade B"]),
    ],
)
def test_the_node_is_the_whole_or_its_supplies(there: list[str], named: list[str], chosen: list[str]) -> None:
    """A sensor of the whole is taken alone, inputs of supplies are summed, outputs and parts never."""
    assert [sensor.name for sensor in choose_sensors(_watts(*there), named)] == chosen


@pytest.mark.parametrize(
    ("there", "named", "reason"),
    [
        (["CPU Power"], [], "cannot be told: CPU Power"),
        ([], [], "cannot be told: none"),
        (["System Power", "Total Power"], [], "cannot be told"),
        (["System Power"], ["Sistem Power"], "no watt sensor 'Sistem Power'; it has System Power"),
    ],
)
def test_what_cannot_be_told_is_not_guessed(there: list[str], named: list[str], reason: str) -> None:
    """Where no sensor or several could be the node, the setting that decides is named."""
    with pytest.raises(AskError, match=reason) as caught:
        choose_sensors(_watts(*there), named)
    assert "agent.ipmi.sensors" in caught.value.fix


@pytest.mark.parametrize(
    ("complaint", "fix"),
    [
        ("ipmi-raw: password invalid\n", "agent.ipmi.credentials"),
        ("/usr/sbin/ipmi-raw: password invalid\n", "agent.ipmi.credentials"),
        ("ipmi-raw: connection timeout\n", "IPMI over LAN"),
        ("ipmi-raw: privilege level cannot be obtained for this user\n", "opensesspriv"),
        ("ipmi-raw: permission denied\n", "as root"),
        ("Config File Error: unknown configuration option\n", "freeipmi.conf"),
        ("", "by hand"),
    ],
)
def test_a_complaint_has_what_mends_it(complaint: str, fix: str) -> None:
    """FreeIPMI's own words are the reason, and each has its next step."""
    error = fault("ipmi-raw", complaint)
    said = complaint.strip().removeprefix("/usr/sbin/")
    assert (said or "ipmi-raw: ended without a word") == str(error)
    assert fix in error.fix


_SDR = "152,Pwr Consumption,Current,168.00,Watts,'OK'\n153,\"PSU1, Input\",Power Supply,N/A,Watts,'Unknown'\n"


@given(spoilt_bytes(_SDR.encode()).map(lambda data: data.decode(errors="replace")) | st.text(max_size=60))
def test_spoilt_lines_of_sensors_are_none(text: str) -> None:
    """Whatever ipmi-sensors prints, its sensors have a record, a name and a whole number."""
    for sensor in parse_sensors(text):
        assert (type(sensor.record), type(sensor.name), type(sensor.power_mw)) == (int, str, int)


@pytest.mark.parametrize(
    "line",
    ["²,P,C,1.0,Watts", "9" * 5000 + ",P,C,1.0,Watts", "1,P,C,nan,Watts", "1," + "x" * 200_000 + ",C,1,W"],
)
def test_what_looks_like_a_sensor_is_none(line: str) -> None:
    """A digit of another script, a record beyond all numbers, no number, a line without end: nothing."""
    assert all(sensor.power_mw == -1 for sensor in parse_sensors(line))
