"""A BMC's Redfish service over https: up, lying, hung, redirecting, with a wrong certificate, and gone."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from joulebook.agent.asked import is_timeout
from joulebook.agent.meters.bmc import AskError
from joulebook.agent.meters.redfish import Redfish, read_identity
from joulebook.agent.meters.redfish_documents import HostIdentity
from joulebook.agent.meters.redfish_http import RedfishService
from tests.fixtures.trees import write
from tests.servers.redfish import Service, redfish

_RACK = HostIdentity("4c4c4544-0043-3510-8052-b7c04f4d3133")
_POWER = "/redfish/v1/Chassis/1U/Power"
# Generous where the service answers; short only where it never will.
_SHORT_S = 0.5


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Service]:
    """Run the service of a rack server of the older model."""
    with redfish(tmp_path, "rackmount") as service:
        yield service


def _ask(
    service: Service, host: HostIdentity = _RACK, *chassis: str, timeout_s: float = 60.0, name: str = ""
) -> Redfish:
    client = RedfishService(service.url, service.credentials, service.ca, name, timeout_s)
    return Redfish(client, host, chassis)


def _refused(service: Service, reason: str, host: HostIdentity = _RACK, *chassis: str) -> AskError:
    """Ask once, where no power can be told, and return the error."""
    ask = _ask(service, host, *chassis)
    with pytest.raises(AskError, match=reason) as caught:
        ask.read()
    ask.close()
    return caught.value


def test_the_power_of_a_rack_server(rack: Service) -> None:
    """Both members of the whole are summed; after the first answer one question does, in one session."""
    ask = _ask(rack)
    answer = ask.read()
    assert (answer.power_mw, answer.way) == (685_500, "Power")
    rack.documents[_POWER]["PowerControl"][0]["PowerConsumedWatts"] = 400
    rack.asked.clear()
    assert ask.read().power_mw == 741_500
    assert rack.asked == [f"GET {_POWER}"]
    ask.close()
    assert rack.asked[-1].startswith("DELETE /redfish/v1/SessionService/Sessions/")
    assert not rack.tokens


@pytest.mark.parametrize("blade", [0, 1, 2])
def test_a_blade_is_found_by_its_identity(tmp_path: Path, blade: int) -> None:
    """In an enclosure each host reads its own chassis, not its neighbour's, the enclosure's or its GPU's."""
    uuid = f"{0x11223300 + blade:08x}-0a0b-4c0d-8e0f-0123456789ab"
    with redfish(tmp_path, "blades") as service:
        ask = _ask(service, HostIdentity(uuid))
        answer = ask.read()
        assert answer.power_mw == 712_250 + 1000 * blade
        assert (answer.way, answer.window_us) == ("EnvironmentMetrics", 2_000_000)
        assert answer.energy_uj == (198_443_302 + blade) * 1_000_000
        ask.close()


def test_a_host_that_is_none_of_the_systems_reads_no_neighbour(tmp_path: Path) -> None:
    """Where no system is this host its power is not guessed, and what decides is named; then it is read."""
    with redfish(tmp_path, "blades") as service:
        error = _refused(service, r"none of the BMC's systems is this host.*Blade2")
        assert "agent.redfish.chassis" in error.fix
        ask = _ask(service, _RACK, "Blade1", "/redfish/v1/Chassis/Blade2")
        assert ask.read().power_mw == 713_250 + 714_250
        ask.close()
        _refused(service, "Blade9: not there", _RACK, "Blade9")


def test_supplies_inputs_are_the_last_way(tmp_path: Path) -> None:
    """A chassis without a reading of its own is the sum of what its supplies take in."""
    with redfish(tmp_path, "supplies") as service:
        ask = _ask(service, HostIdentity())
        assert (ask.read().power_mw, ask.read().way) == (364_000, "PowerSupplies")
        ask.close()


def test_a_service_without_sessions_is_asked_with_basic(rack: Service) -> None:
    """Where the session service is not there, each question carries user and password."""
    rack.sessions = False
    ask = _ask(rack)
    assert ask.read().power_mw == 685_500
    ask.close()


def test_a_session_that_ended_is_begun_anew(rack: Service) -> None:
    """A BMC that restarted has forgotten its sessions; the next question does not fail for it."""
    ask = _ask(rack)
    ask.read()
    rack.tokens.clear()
    assert ask.read().power_mw == 685_500
    ask.close()


def test_wrong_credentials_are_told_without_the_password(rack: Service, tmp_path: Path) -> None:
    """A refused user is named with what to correct."""
    rack.credentials.write_text("username monitor\npassword wrong horse\n")
    error = _refused(rack, r"refuses the user 'monitor' \(401\)")
    assert "agent.redfish.credentials" in error.fix
    assert "horse" not in repr(error)
    rack.credentials.chmod(0o604)
    _refused(rack, "others may read the password")
    rack.credentials = tmp_path / "none"
    _refused(rack, "No such file")


def test_a_wrong_certificate_is_told_with_its_fix(rack: Service, tmp_path: Path) -> None:
    """Another authority, no authority and another name each have their reason, and nothing is sent."""
    (tmp_path / "other").mkdir()
    with redfish(tmp_path / "other", "rackmount", ("bmc7.example.org",)) as other:
        cases = [
            (RedfishService(rack.url, rack.credentials, other.ca), "certificate", "agent.redfish.ca"),
            (RedfishService(rack.url, rack.credentials), "certificate", "agent.redfish.ca"),
            (RedfishService(other.url, other.credentials, other.ca), "certificate", "certificate_name"),
            (RedfishService(other.url, other.credentials, tmp_path / "no.pem"), "no such file", "redfish.ca"),
            (RedfishService(other.url, None, other.credentials), "no TLS", "agent.redfish"),
        ]
        for service, reason, fix in cases:
            with pytest.raises(AskError, match=reason) as caught:
                service.get("/redfish/v1/")
            assert fix in caught.value.fix
            service.close()
        assert rack.asked == other.asked == []
        named = _ask(other, name="bmc7.example.org")
        assert named.read().power_mw == 685_500
        named.close()


def test_redirections_stay_on_the_host(rack: Service, tmp_path: Path) -> None:
    """One within the service is followed; one to another host or port is not, and that one is never asked."""
    (tmp_path / "other").mkdir()
    with redfish(tmp_path / "other", "rackmount") as other:
        rack.answer(_POWER, b"", 302, Location=f"{other.url}{_POWER}")
        _refused(rack, r"redirected to https://127.0.0.1:\d+, which is not followed")
        assert other.asked == []
    rack.documents["/moved"] = rack.documents[_POWER]
    rack.answer(_POWER, b"", 308, Location="/moved")
    ask = _ask(rack)
    assert ask.read().power_mw == 685_500
    rack.answer("/moved", b"", 301, Location=_POWER)
    with pytest.raises(AskError, match="redirected more than"):
        ask.read()
    ask.close()


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 200, "not JSON"),
        (b"<html>login</html>", 200, "not JSON"),
        (b'{"PowerControl": [', 200, "not JSON"),
        (b"[]", 200, "no JSON object"),
        (b"{}", 500, "answers 500"),
        (b"{}", 503, "answers 503"),
        (b"{}", 403, "refuses"),
        (b"{}", 404, "not there"),
        (b"{}", 200, "no PowerControl tells"),
        (b'{"PowerControl": [{"PowerConsumedWatts": 0}]}', 200, "Redfish says 0 W"),
        (b'{"PowerControl": [{"PowerConsumedWatts": 65535}]}', 200, "Redfish says 65535 W"),
        (b'{"PowerControl": [{"PowerConsumedWatts": -20.5}]}', 200, "Redfish says -20.5 W"),
        (b'{"PowerControl": [{"PowerConsumedWatts": "344"}]}', 200, "no PowerControl tells"),
        (b'{"PowerControl": [{"PowerConsumedWatts": 1e300}]}', 200, "no PowerControl tells"),
    ],
)
def test_garbage_and_lies_are_no_power(rack: Service, body: bytes, status: int, reason: str) -> None:
    """Whatever the BMC sends is a believable power or a reason, and the next true answer counts."""
    ask = _ask(rack)
    ask.read()
    rack.answer(_POWER, body, status)
    with pytest.raises(AskError, match=reason):
        ask.read()
    rack.faults.clear()
    assert ask.read().power_mw == 685_500
    ask.close()


def test_an_answer_without_end_is_cut_off(rack: Service) -> None:
    """A BMC that sends gigabytes is left after a mebibyte."""
    ask = _ask(rack)
    ask.read()
    sent = 0

    def flood(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 34))
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not rack.over.is_set():
                sent += handler.wfile.write(b" " * 65536)
        handler.close_connection = True

    rack.faults[_POWER] = flood
    with pytest.raises(AskError, match="larger than"):
        ask.read()
    assert sent < 1 << 30
    ask.close()


def test_a_bmc_that_hangs_is_left_in_time(rack: Service) -> None:
    """A question that is never answered ends by its time-out, and the service is found again."""
    ask = _ask(rack)
    ask.read()
    ask.close()
    slow = _ask(rack, timeout_s=_SHORT_S)
    rack.hang(_POWER)
    with pytest.raises(AskError, match=r"no answer within 0.5 s") as caught:
        slow.read()
    assert is_timeout(caught.value)
    slow.close()
    rack.faults.clear()
    again = _ask(rack)
    assert again.read().power_mw == 685_500
    again.close()


def test_a_listener_that_never_speaks_is_left_in_time() -> None:
    """A port that takes connections and says nothing holds a question no longer than its time-out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(AskError, match=r"no answer within 0.5 s"):
            RedfishService(url, timeout_s=_SHORT_S).get("/redfish/v1/")


@pytest.mark.parametrize("speech", [b"SSH-2.0-OpenSSH\r\n", b"\x00" * 200, b"HTTP/1.1 200 OK\r\n\r\n"])
def test_what_is_no_tls_is_told(speech: bytes) -> None:
    """Another kind of server at the address is an error, not a hang."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(speech)

        thread = threading.Thread(target=speak)
        thread.start()
        service = RedfishService(f"https://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(AskError, match="https://127"):
            service.get("/redfish/v1/")
        service.close()
        thread.join()


def test_a_service_that_is_gone_is_told(tmp_path: Path) -> None:
    """Nobody at the address is a reason with a fix; the kept connection's end is no failure of its own."""
    with redfish(tmp_path, "rackmount") as service:
        ask = _ask(service)
        ask.read()
    with pytest.raises(AskError, match=r"refused|closed|reset") as caught:
        ask.read()
    assert caught.value.fix
    assert not is_timeout(caught.value)
    ask.close()


def test_dmi_tells_who_this_machine_is(tmp_path: Path) -> None:
    """UUID and serial number come from DMI; a machine without it has none."""
    write(tmp_path / "class/dmi/id/product_uuid", _RACK.uuid)
    write(tmp_path / "class/dmi/id/product_serial", "7XR1138")
    assert read_identity(tmp_path) == HostIdentity(_RACK.uuid, "7XR1138")
    assert read_identity(tmp_path / "none") == HostIdentity()
