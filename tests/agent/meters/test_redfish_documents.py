"""Redfish's documents, as they are and as they should not be."""

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.bmc import AskError
from joulebook.agent.meters.redfish_documents import (
    HostIdentity,
    control_power,
    duration_us,
    environment_power,
    is_this_host,
    links,
    sensor_window_us,
    supply_power,
)
from joulebook.agent.meters.redfish_http import parse_document

_UUID = "4c4c4544-0043-3510-8052-b7c04f4d3133"
_SWAPPED = "44454c4c-4300-1035-8052-b7c04f4d3133"


def _document(**content: Any) -> dict[str, Any]:
    return parse_document(json.dumps(content).encode(), "/x")


def test_controls_are_summed_and_parts_are_not() -> None:
    """Members that measure the whole add up; a member of a processor is within them."""
    power = control_power(
        _document(
            PowerControl=[
                {"Name": "A", "PowerConsumedWatts": 344},
                {"Name": "B", "PowerConsumedWatts": 341.5, "PhysicalContext": "PowerSupply"},
                {"Name": "CPU", "PowerConsumedWatts": 180, "PhysicalContext": "CPU"},
                {
                    "Name": "GPU",
                    "PowerConsumedWatts": 250,
                    "RelatedItem": [{"@odata.id": "/redfish/v1/Systems/1/Processors/GPU0"}],
                },
            ]
        ),
        "/x",
    )
    assert (power.power_mw, power.step_mw) == (685_500, 1100)


def test_a_member_that_tells_nothing_makes_no_smaller_sum() -> None:
    """Half of the supplies' power is not taken for all of it."""
    with pytest.raises(AskError, match="PowerControl 'B' tells no PowerConsumedWatts"):
        control_power(
            _document(PowerControl=[{"PowerConsumedWatts": 1.0}, {"Name": "B", "PowerConsumedWatts": None}]),
            "/x",
        )


def test_a_mean_of_minutes_stands_in_for_a_momentary_power() -> None:
    """Where only PowerMetrics tell a power, its interval is the window; one of half an hour tells nothing."""
    metrics = {"AverageConsumedWatts": 317, "IntervalInMin": 1, "MaxConsumedWatts": 489}
    member = {"Name": "A", "PowerConsumedWatts": None, "PowerMetrics": metrics}
    power = control_power(_document(PowerControl=[member, {"PowerConsumedWatts": 40}]), "/x")
    assert (power.power_mw, power.window_us) == (357_000, 60_000_000)
    metrics["IntervalInMin"] = 30
    with pytest.raises(AskError, match="no PowerControl tells"):
        control_power(_document(PowerControl=[member]), "/x")


def test_energy_is_exact_to_the_microjoule() -> None:
    """A counter in kWh has the step of its last digit, and no rounding of floating point."""
    document = parse_document(
        b'{"PowerWatts": {"Reading": 712.25}, "EnergykWh": {"Reading": 123456.789012}}', "/x"
    )
    power = environment_power(document)
    assert power is not None
    assert (power.power_mw, power.step_mw) == (712_250, 10)
    assert (power.energy_uj, power.energy_step_uj) == (444_444_440_443_200_000, 3_600_000)


def test_joules_are_preferred() -> None:
    """Of two counters the one in joules is taken."""
    power = environment_power(
        _document(PowerWatts={"Reading": 9}, EnergyJoules={"Reading": 77}, EnergykWh={"Reading": 1.5})
    )
    assert power is not None
    assert (power.energy_uj, power.energy_step_uj) == (77_000_000, 1_000_000)


def test_supplies_are_summed() -> None:
    """What all supplies take in is the node; where one is silent nothing is told."""
    supplies = [_document(InputPowerWatts={"Reading": watts}) for watts in (181.5, 182.5)]
    assert supply_power(supplies, "/x").power_mw == 364_000
    with pytest.raises(AskError, match="1 of 3 power supplies"):
        supply_power([*supplies, {}], "/x")


@pytest.mark.parametrize(
    ("system", "host", "same"),
    [
        ({"UUID": _UUID.upper()}, HostIdentity(_UUID), True),
        ({"UUID": _SWAPPED}, HostIdentity(_UUID), True),
        ({"UUID": _UUID}, HostIdentity(_UUID[:-1] + "4"), False),
        ({"UUID": _UUID, "SerialNumber": "ABC"}, HostIdentity("", " abc"), True),
        (
            {"UUID": "", "SerialNumber": "To be filled by O.E.M."},
            HostIdentity("", "To be filled by O.E.M."),
            False,
        ),
        ({"UUID": None, "SerialNumber": None}, HostIdentity("", ""), False),
        ({}, HostIdentity(_UUID, "ABC"), False),
    ],
)
def test_a_host_is_known_by_uuid_or_serial(system: dict[str, Any], host: HostIdentity, same: bool) -> None:
    """Case and SMBIOS' byte order do not matter; numbers that every board has tell nothing."""
    assert is_this_host(system, host) is same


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("PT1S", 1_000_000),
        ("PT0.25S", 250_000),
        ("P1DT1M", 86_460_000_000),
        ("", 0),
        ("1 s", 0),
        (5, 0),
        (None, 0),
        ("P" * 60, 0),
    ],
)
def test_durations(text: object, us: int) -> None:
    """ISO 8601 durations are read, anything else is no duration."""
    assert duration_us(text) == us


def test_the_longer_interval_is_the_window() -> None:
    """A sensor that averages over 2 s and is read twice a second lags like one of 2 s."""
    assert sensor_window_us({"AveragingInterval": "PT2S", "SensingInterval": "PT0.5S"}) == 2_000_000


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Reading", "PowerWatts", "PowerControl", "PowerConsumedWatts", "@odata.id", "EnergykWh"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["PowerWatts", "PowerControl", "EnergykWh", "UUID", "Members"]), _JSON)
)
def test_documents_of_any_shape_are_read_or_refused(document: dict[str, Any]) -> None:
    """No shape of a document is more than an error of ours."""
    power = environment_power(document)
    assert power is None or isinstance(power.power_mw, int)
    is_this_host(document, HostIdentity(_UUID, "A"))
    assert isinstance(links(document.get("Members")), list)
    with contextlib.suppress(AskError):
        assert isinstance(control_power(document, "/x").power_mw, int)


@pytest.mark.parametrize("data", [b"", b"<html>", b"[1]", b"7", b"\xff\xfe", b"[" * 100_000, b'{"a": 1} x'])
def test_what_is_no_json_object_is_told(data: bytes) -> None:
    """Pages, lists, binary and what is nested without end are no documents."""
    with pytest.raises(AskError, match=r"/x: "):
        parse_document(data, "/x")


def test_numbers_without_end_are_none() -> None:
    """JSON's infinities, and numbers of absurd size, are no readings."""
    for number in (b"Infinity", b"NaN", b"1e400", b"-Infinity"):
        assert environment_power(parse_document(b'{"PowerWatts": {"Reading": %s}}' % number, "/x")) is None
    assert Decimal("1e400").is_finite()
