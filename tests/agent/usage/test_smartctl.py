"""What smartctl's documents say of a disk, and how the program itself behaves.

The documents in fixtures/smartctl are recorded: qemu-ide-hd and linux-scsi-debug by Debian's smartctl 7.3 on
Linux 6.1 with QEMU's SATA disk and the kernel's scsi_debug; the others are cut from public ones, of the tests
of smartctl_exporter (hgst, intel, toshiba) and of other projects (standby, usb-bridge). Where it was not
asked for the power mode, that line is added as `--json=o` has it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.usage.smartctl import (
    ACTIVE,
    AT_REST,
    FIX_PRIVILEGE,
    FIX_PROGRAM,
    IDLE,
    NO_POWER_MODE,
    STANDBY,
    SmartAnswer,
    Smartctl,
    SmartError,
    parse,
)
from tests.servers.programs import program

_RECORDED = Path(__file__).parents[2] / "fixtures/smartctl"
HOUR_US = 3_600_000_000
NAMES = sorted(path.stem for path in _RECORDED.glob("*.json"))


def recorded(name: str, line: str = "") -> dict[str, Any]:
    """Return a recorded document, with a line of the text that goes with it."""
    document: dict[str, Any] = json.loads((_RECORDED / f"{name}.json").read_text())
    if line:
        document["smartctl"]["output"] = [line]
    return document


def of(document: dict[str, Any], status: int = 0) -> SmartAnswer:
    """Parse a document."""
    return parse(status, json.dumps(document).encode())


_AT_WORK = "Power mode is:    ACTIVE or IDLE"


@pytest.mark.parametrize(
    ("name", "line", "answer"),
    [
        ("qemu-ide-hd", "", SmartAnswer(ACTIVE, 31_000, HOUR_US, reallocated=0, is_failing=False)),
        ("linux-scsi-debug", "", SmartAnswer(ACTIVE, 38_000, is_failing=False)),
        (
            "hgst-hus726040ale614",
            _AT_WORK,
            SmartAnswer(ACTIVE, 31_000, 42_454 * HOUR_US, 0, 0, 0, is_failing=False),
        ),
        (
            "intel-ssdsc2bb240g4",
            _AT_WORK,
            SmartAnswer(ACTIVE, 25_000, 69_412 * HOUR_US, None, 0, 0, is_failing=False),
        ),
        (
            "toshiba-mg08sca16tey",
            "Power mode is:        ACTIVE",
            SmartAnswer(ACTIVE, 31_000, reallocated=0, media_errors=0, is_failing=False),
        ),
    ],
)
def test_a_disk_at_work_tells_its_figures(name: str, line: str, answer: SmartAnswer) -> None:
    """SATA and SAS, hard disk and SSD: each figure that the document has in its unit, None for the rest."""
    assert of(recorded(name, line)) == answer


def test_errors_are_counted_where_the_disk_counts_them() -> None:
    """SATA's attributes 5, 187 and 197, SAS's defects and sums of uncorrected errors, wear and verdict."""
    sata = recorded("intel-ssdsc2bb240g4", _AT_WORK)
    table = sata["ata_smart_attributes"]["table"]
    table.append({"id": 5, "raw": {"value": 8}})
    for row in table:
        row["raw"]["value"] = {187: 3, 197: 2}.get(row["id"], row["raw"]["value"])
    answer = of(sata | {"smart_status": {"passed": False}, "endurance_used": {"current_percent": 130}})
    assert (answer.reallocated, answer.pending, answer.media_errors) == (8, 2, 3)
    assert (answer.is_failing, answer.used_ppm) == (True, 1_000_000)
    sas = recorded("toshiba-mg08sca16tey", "Power mode is:        ACTIVE")
    sas["scsi_error_counter_log"]["read"]["total_uncorrected_errors"] = 4
    sas["scsi_error_counter_log"]["verify"]["total_uncorrected_errors"] = 1
    sas |= {"scsi_pending_defects": {"count": 7}, "scsi_percentage_used_endurance_indicator": 4}
    answer = of(sas | {"scsi_grown_defect_list": 12, "power_on_time": {"hours": 2, "minutes": 30}})
    assert (answer.reallocated, answer.media_errors, answer.power_on_us) == (12, 5, 2.5 * HOUR_US)
    assert (answer.pending, answer.used_ppm) == (7, 40_000)


@pytest.mark.parametrize(
    ("told", "mode"),
    [
        ("STANDBY", STANDBY),
        ("STANDBY_Y", STANDBY),
        ("STANDBY (OS)", STANDBY),
        ("STANDBY BY TIMER", STANDBY),
        ("IDLE", IDLE),
        ("IDLE_A", IDLE),
        ("IDLE_C BY COMMAND", IDLE),
    ],
)
def test_a_disk_at_rest_tells_that_alone(told: str, mode: int) -> None:
    """Whatever the standards call the modes, and whoever put it there: no figure beside."""
    message = {"string": f"Device is in {told} mode, exit(3)", "severity": "information"}
    assert of({"smartctl": {"messages": [message], "exit_status": 3}}, AT_REST) == SmartAnswer(mode)
    # As recorded, with the exit status that is the default.
    assert of(recorded("standby"), 2) == SmartAnswer(STANDBY)


@pytest.mark.parametrize(
    ("status", "message", "reason", "fix"),
    [
        # Without the capability the power check fails, which smartctl takes for the deepest of sleeps.
        (3, "Device is in SLEEP mode, exit(3)", "CAP_SYS_RAWIO is missing", FIX_PRIVILEGE),
        (NO_POWER_MODE, "CHECK POWER MODE not implemented, exit(5)", "not asked for anything else", "bridge"),
        (2, "Smartctl open device: /dev/sda failed: Permission denied", "Permission denied", FIX_PRIVILEGE),
        (
            1,
            "/dev/sdb: Unknown USB bridge [0x0bda:0x9201 (0xf200)]",
            "Unknown USB bridge",
            "knows the bridge",
        ),
        (2, "DELL or MegaRaid controller, please try adding '-d megaraid,N'", "MegaRaid", "RAID controller"),
        (2, "Read Device Identity failed: Input/output error", "Input/output error", "smartctl -i"),
        (0, "", "no power mode in it", "smartctl -n idle"),
    ],
)
def test_a_disk_that_cannot_be_asked_says_why(status: int, message: str, reason: str, fix: str) -> None:
    """The reason is smartctl's own, and the fix fits it."""
    document = {"smartctl": {"messages": [{"string": message, "severity": "error"}], "exit_status": status}}
    with pytest.raises(SmartError, match=reason) as caught:
        of(document, status)
    assert fix in caught.value.fix
    with pytest.raises(SmartError, match="Unknown USB bridge"):
        of(recorded("usb-bridge"), 1)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"temperature": {"current": 214}}, "214 °C"),
        ({"temperature": {"current": -128}}, "-128 °C"),
        ({"power_on_time": {"hours": 1 << 40}}, "powered on for"),
    ],
)
def test_what_no_disk_can_tell_is_refused(changed: dict[str, Any], reason: str) -> None:
    """A figure beyond belief is named with what was expected."""
    with pytest.raises(SmartError, match=f"{reason}.*expected"):
        of(recorded("hgst-hus726040ale614", _AT_WORK) | changed)


@given(st.sampled_from(NAMES), st.data())
def test_spoilt_documents_are_refused_or_believable(name: str, data: st.DataObject) -> None:
    """Cut, garbled and of other types, a document gives a believable answer, or an error with a fix."""
    document = recorded(name, _AT_WORK)
    key = data.draw(st.sampled_from(sorted(document)))
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    )
    document[key] = data.draw(junk)
    raw = json.dumps(document).encode()
    cut = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    try:
        answer = parse(data.draw(st.integers(0, 255)), cut)
    except SmartError as error:
        answer, told = None, error
    if answer is None:
        assert told.fix
        assert len(str(told)) < 400
        return
    assert answer.mode in (STANDBY, IDLE, ACTIVE)
    for value in (answer.temperature_mc, answer.power_on_us, answer.reallocated, answer.used_ppm):
        assert value is None or 0 <= value < 1 << 62


def test_a_program_that_is_missing_hangs_or_prints_no_json(tmp_path: Path) -> None:
    """Each is told with what mends it, and none takes longer than it may."""
    with pytest.raises(SmartError, match="cannot be run") as caught:
        Smartctl(str(tmp_path / "none")).version()
    assert caught.value.fix == FIX_PROGRAM
    file = tmp_path / "smartctl"
    scripts = {"echo smartctl 6.6": "expected JSON", "echo '{}'": "no JSON", "exec sleep 9": "come back"}
    for script, reason in scripts.items():
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        with pytest.raises(SmartError, match=reason) as caught:
            Smartctl(str(file), kill_s=0.5).version()
        assert caught.value.timed_out == (reason == "come back")
        assert caught.value.fix


def test_the_real_program_refuses_what_is_no_such_disk(tmp_path: Path) -> None:
    """A file, and a machine's own disk that is neither SATA nor SAS (virtio, NVMe): it says why itself."""
    smartctl = Smartctl(program("smartctl", package="smartmontools"))
    assert smartctl.version() >= (7, 0)
    file = tmp_path / "sda"
    file.touch()
    disks = [path for path in (Path("/dev/vda"), Path("/dev/nvme0n1")) if path.is_block_device()]
    for path in (file, *disks):
        for way in ("sat", "scsi"):
            asked = ["--json=o", "-n", "idle,3,5", "-i", "-A", "-H", "-d", way, "-B", "/dev/null", str(path)]
            status, data = smartctl.run(asked)
            assert status & 0b111
            with pytest.raises(SmartError) as caught:
                parse(status, data)
            assert caught.value.fix
            assert "JSON" not in str(caught.value)
