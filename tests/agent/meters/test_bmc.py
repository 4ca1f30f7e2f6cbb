"""What ways to a node's power have in common: believable powers and files of secrets."""

from pathlib import Path

import pytest

from joulebook.agent.meters.bmc import AskError, Credentials, believable, parse_lines, read_credentials


@pytest.mark.parametrize("power_mw", [-1, 0, 999, 60_000_001, 65_535_000, 2**63])
def test_no_running_node_draws_that(power_mw: int) -> None:
    """Nothing, less than a watt, 65535 W and more are refused with who said so."""
    with pytest.raises(AskError, match=r"DCMI says .* W: no running node draws that"):
        believable(power_mw, "DCMI")


@pytest.mark.parametrize("power_mw", [1000, 2500, 60_000_000])
def test_small_and_large_nodes_are_believed(power_mw: int) -> None:
    """From a board of a watt to a rack-sized machine."""
    assert believable(power_mw, "DCMI") == power_mw


def test_lines_are_keys_and_values() -> None:
    """Passwords may hold spaces and #; comments and bare keys are passed over."""
    text = "# the BMC's\n username  admin \n\npassword a b#c\nworkaround-flags\n"
    assert parse_lines(text) == {"username": "admin", "password": "a b#c"}


def test_a_password_does_not_show(tmp_path: Path) -> None:
    """Credentials are read from a file that only the agent may read, and print without the password."""
    path = tmp_path / "bmc"
    path.write_text("username admin\npassword secret\n")
    path.chmod(0o640)
    found = read_credentials(path, "agent.redfish.credentials")
    assert found == Credentials("admin", "secret")
    assert "secret" not in repr(found)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The mode is told with the command that mends it."""
    path = tmp_path / "bmc"
    path.write_text("username admin\npassword secret\n")
    path.chmod(mode)
    with pytest.raises(AskError, match=f"mode {mode:04o}") as caught:
        read_credentials(path, "agent.redfish.credentials")
    assert caught.value.fix == f"chmod 640 {path}"


@pytest.mark.parametrize("data", [b"", b"username admin\n", b"password x\n", b"\xff\xfe\x00", b"x" * 100_000])
def test_a_file_that_lacks_a_line_is_refused(tmp_path: Path, data: bytes) -> None:
    """Empty, half, binary and huge files say which line is missing."""
    path = tmp_path / "bmc"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(AskError, match=r"no line `(username|password) …`"):
        read_credentials(path, "agent.redfish.credentials")
