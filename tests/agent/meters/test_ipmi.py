"""A BMC over LAN: OpenIPMI's simulator, up, lying, hung and gone."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from joulebook.agent.asked import is_timeout
from joulebook.agent.meters.bmc import AskError
from joulebook.agent.meters.ipmi import FIX_PROGRAMS, Ipmi
from joulebook.agent.source import WORKING
from tests.agent.meters.test_ipmi_device import Driver
from tests.servers.ipmi_sim import Bmc, ipmi_sim
from tests.servers.programs import program

_LONG_S = 90.0


@pytest.fixture(scope="module")
def bmc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bmc]:
    """Run a BMC with DCMI."""
    with ipmi_sim(tmp_path_factory.mktemp("bmc") / "sim") as bmc:
        yield bmc


def _ipmi(bmc: Bmc, *sensors: str, timeout_s: float = _LONG_S) -> Ipmi:
    return Ipmi(Path("/dev"), bmc.address, bmc.credentials, sensors, timeout_s=timeout_s)


def _told(ipmi: Ipmi) -> int | str:
    """Return what it tells, mW, or why it tells none: until the simulator polls its sensors they say 0 W."""
    try:
        return ipmi.read().power_mw
    except AskError as error:
        return str(error)


def test_dcmi_tells_the_nodes_power(bmc: Bmc) -> None:
    """Each question gets the power of the moment."""
    ipmi = _ipmi(bmc)
    for watts in (213, 1, 1874, 60_000):
        bmc.dcmi_w(watts)
        answer = ipmi.read()
        assert (answer.power_mw, answer.way) == (watts * 1000, "DCMI")
    ipmi.close()


@pytest.mark.parametrize("watts", [0, 65535])
def test_lies_are_no_power(bmc: Bmc, watts: int) -> None:
    """0 W and 65535 W are refused by name, and the next true answer counts."""
    ipmi = _ipmi(bmc)
    bmc.dcmi_w(watts)
    with pytest.raises(AskError, match=f"DCMI says {watts} W"):
        ipmi.read()
    bmc.dcmi_w(300)
    assert ipmi.read().power_mw == 300_000
    ipmi.close()


def test_named_sensors_are_summed(bmc: Bmc) -> None:
    """What the administrator names is taken in DCMI's place."""
    bmc.sensors_w(168, 100)
    with closing(_ipmi(bmc, "Pwr Consumption", "PSU1 Input")) as ipmi:
        deadline = time.monotonic() + _LONG_S
        while (told := _told(ipmi)) != 268_000:
            assert time.monotonic() < deadline, told
        assert ipmi.read().way == "SDR"


def test_a_sensor_that_is_not_there_is_named(bmc: Bmc) -> None:
    """A wrong name is told with those that there are."""
    ipmi = _ipmi(bmc, "System Level")
    with pytest.raises(AskError, match="no watt sensor 'System Level'; it has Pwr Consumption, PSU1 Input"):
        ipmi.read()
    ipmi.close()


def test_a_hung_bmc_is_left_after_a_while_and_found_again(bmc: Bmc) -> None:
    """A BMC that takes packets and answers none costs its own thread some seconds, and no more."""
    bmc.dcmi_w(213)
    bmc.hang()
    impatient = _ipmi(bmc, timeout_s=1.0)
    try:
        with pytest.raises(AskError, match=r"ipmi-raw: (connection|session) timeout") as caught:
            impatient.read()
        assert "agent.ipmi.address" in caught.value.fix
        assert is_timeout(caught.value)
    finally:
        bmc.go_on()
    impatient.close()
    ipmi = _ipmi(bmc)
    deadline = time.monotonic() + _LONG_S
    while True:
        try:
            assert ipmi.read().power_mw == 213_000
            break
        except AskError:
            assert time.monotonic() < deadline
    ipmi.close()


@pytest.mark.parametrize(
    ("text", "mode", "reason", "fix"),
    [
        (
            "username admin\npassword wrong\nworkaround-flags opensesspriv\n",
            0o600,
            "password invalid",
            "password",
        ),
        (
            "username nobody\npassword secret\nworkaround-flags opensesspriv\n",
            0o600,
            "username invalid",
            "user",
        ),
        ("username admin\npassword secret\n", 0o600, "privilege level", "opensesspriv"),
        ("username admin\npassword secret\nkey word\n", 0o600, "Config File Error", "freeipmi.conf"),
        ("username admin\n", 0o600, "no line `password …`", "password WORD"),
        ("username admin\npassword secret\n", 0o644, "others may read the password", "chmod 640"),
        (None, 0, "No such file", "agent.ipmi.credentials"),
    ],
)
def test_credentials_that_do_not_do_are_told(
    bmc: Bmc, tmp_path: Path, text: str | None, mode: int, reason: str, fix: str
) -> None:
    """Each fault of the credentials has its reason and its fix, and no reason holds a password."""
    path = tmp_path / "credentials"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    ipmi = Ipmi(Path("/dev"), bmc.address, path, timeout_s=_LONG_S)
    with pytest.raises(AskError, match=reason) as caught:
        ipmi.read()
    assert fix in caught.value.fix
    assert "secret" not in str(caught.value) + caught.value.fix
    ipmi.close()


def test_a_bmc_without_dcmi_is_asked_by_its_sensors(tmp_path: Path) -> None:
    """Where the command is not known, the sensor of the whole node takes its place."""
    with ipmi_sim(tmp_path / "sim", dcmi=False) as bmc:
        ipmi = _ipmi(bmc)
        deadline = time.monotonic() + _LONG_S
        while True:
            try:
                answer = ipmi.read()
            except AskError:
                assert time.monotonic() < deadline
                continue
            if answer.power_mw == 168_000:
                break
            assert time.monotonic() < deadline
        assert answer.way == "SDR"
        ipmi.close()
    # The BMC is gone now.
    ipmi = _ipmi(bmc, timeout_s=1.0)
    with pytest.raises(AskError, match=r"timeout|refused|closed"):
        ipmi.read()
    ipmi.close()


_SDR_PROGRAM = """#!/bin/sh
echo "$@" >>{said}
echo "1,Ambient Temp,Temperature,24.00,Celsius,'OK'"
echo "152,Pwr Consumption,Current,168.00,Watts,'OK'"
echo "153,PSU1 Input,Power Supply,N/A,Watts,'Unknown'"
"""


def test_in_band_a_bmc_without_dcmi_is_asked_by_its_sensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/ipmi0 is asked for DCMI; without it ipmi-sensors is, of no host, and then of one record."""
    driver = Driver()
    driver.answers = lambda number: [(number, b"\xc1")]
    device, said = tmp_path / "dev/ipmi0", tmp_path / "said"
    device.parent.mkdir()
    device.touch()
    real = os.open
    monkeypatch.setattr(
        os,
        "open",
        lambda path, *more, **named: os.dup(driver.read_fd) if path == device else real(path, *more, **named),
    )
    monkeypatch.setattr(fcntl, "ioctl", driver.ioctl)
    # As ipmi-sensors(8) prints it: no kernel without a BMC has the device that the real one asks.
    stand_in = tmp_path / "bin/ipmi-sensors"
    stand_in.parent.mkdir()
    stand_in.write_text(_SDR_PROGRAM.format(said=said))
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    ipmi = Ipmi(device.parent)
    assert ipmi.probe().state == WORKING
    for _ in range(2):
        answer = ipmi.read()
        assert (answer.power_mw, answer.way) == (168_000, "SDR")
    assert len(driver.asked) == 1
    whole, one = said.read_text().splitlines()
    assert "--hostname" not in whole + one
    assert "--config-file" not in whole + one
    assert ("--record-ids" in whole, "--record-ids=152" in one) == (False, True)
    ipmi.close()
    os.close(driver.write_fd)


@pytest.mark.skipif(Path("/dev/ipmi0").exists(), reason="there is a BMC here, and it answers")
def test_the_real_program_in_band_without_a_bmc(tmp_path: Path) -> None:
    """FreeIPMI's own ipmi-sensors on a machine without a BMC is told by its words, and by what mends it."""
    program("ipmi-sensors", package="freeipmi-tools")
    ipmi = Ipmi(tmp_path, sensors=["Pwr Consumption"])
    with pytest.raises(AskError, match="ipmi-sensors: ") as caught:
        ipmi.read()
    assert caught.value.fix
    ipmi.close()


def test_without_the_programs_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without FreeIPMI is told what to install."""
    monkeypatch.setattr("joulebook.agent.meters.ipmi.shutil.which", lambda *_, **__: None)
    with pytest.raises(AskError, match="ipmi-raw is not installed") as caught:
        Ipmi(tmp_path, "127.0.0.1:1").read()
    assert caught.value.fix == FIX_PROGRAMS


def test_the_password_is_in_no_command_line(bmc: Bmc, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `ps` shows of a question holds no password, and neither does the environment."""
    import subprocess  # noqa: PLC0415

    real, seen = subprocess.run, []

    def run(command: list[str], **options: object) -> object:
        seen.append(" ".join(map(str, command)) + str(options.get("env")))
        return real(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", run)
    bmc.dcmi_w(200)
    ipmi = _ipmi(bmc)
    ipmi.read()
    ipmi.close()
    assert seen
    assert all("secret" not in line for line in seen)
