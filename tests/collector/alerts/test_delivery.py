"""Alerts reach the real Alertmanager, and through it people, whatever happens to either of them."""

import logging
import os
import signal
from pathlib import Path

import pytest
import trustme

from joulebook.collector.alerts.alert import Alert
from tests.collector.alerts.conftest import LiveDelivery, until
from tests.servers.alertmanager import Receiver, alertmanager
from tests.servers.programs import free_port
from tests.simulated.alerts import MadeUpBook, firing, pending, resolved

_LABELS = {"node": "n1", "gpu": "gpu.0", "job": "slurm.42", "user": "ada"}
_NAME = "GpuHeldIdle"


@pytest.fixture
def alert() -> Alert:
    """A GPU that is held and idle, firing."""
    return firing(_LABELS)


def test_firing_arrives(tmp_path: Path, alert: Alert) -> None:
    """A firing alert arrives with who, where and why; a pending one is nobody's business yet."""
    book = MadeUpBook([alert, pending({"node": "n1", "job": "slurm.43"}, "cpu_held_idle")])
    with alertmanager(tmp_path) as server, LiveDelivery(book, server.url):
        until(lambda: bool(server.alerts()))
        (found,) = server.alerts()
    assert found["labels"] == {**_LABELS, "alertname": _NAME, "severity": "warning"}
    assert found["annotations"] == {
        "summary": "GPU held but idle: gpu.0 on n1, held by slurm.42 (ada), for 20 min, 73.20 kJ wasted.",
        "description": "A job holds the GPU and uses none of it. Ask the job's owner, or end the job.",
        "wasted_joules": "73200.000020",
        "evidence": "power 61.00 W, idle power 58.00 W, gpu utilisation 0 %",
    }
    assert found["generatorURL"] == f"http://127.0.0.1:8460/#alert={alert.id}"
    assert found["status"]["state"] == "active"


def test_firing_is_sent_again(tmp_path: Path, alert: Alert) -> None:
    """As long as it fires an alert's end is moved ahead, and it stays one alert with one start."""
    with alertmanager(tmp_path) as server, LiveDelivery(MadeUpBook([alert]), server.url, resend_s=0.05):
        until(lambda: bool(server.alerts()))
        first = server.alerts()[0]
        until(lambda: server.alerts()[0]["endsAt"] > first["endsAt"])
        (again,) = server.alerts()
    assert (again["startsAt"], again["fingerprint"]) == (first["startsAt"], first["fingerprint"])
    assert again["updatedAt"] > first["updatedAt"]


def test_changes_are_sent_at_once(tmp_path: Path, people: Receiver, alert: Alert) -> None:
    """What begins to fire or resolves is told without waiting for the next period, and people hear of it."""
    book = MadeUpBook()
    with (
        alertmanager(tmp_path, webhook=people.url) as server,
        LiveDelivery(book, server.url) as live,
    ):
        book.held = [alert]
        live.delivery.changed()
        people.wait_for(("firing", _NAME))
        book.held = [resolved(alert)]
        live.delivery.changed()
        people.wait_for(("firing", _NAME), ("resolved", _NAME))
        assert server.alerts() == []


def test_server_that_comes_late(tmp_path: Path, alert: Alert, caplog: pytest.LogCaptureFixture) -> None:
    """A server that is not there yet gets the alerts when it is; both are logged once, and counted."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with caplog.at_level(logging.INFO), LiveDelivery(MadeUpBook([alert]), url, resend_s=0.05) as live:
        until(lambda: live.stats.failed.get(url, 0) > 2)
        with alertmanager(tmp_path, port=port) as server:
            until(lambda: bool(server.alerts()))
            until(lambda: live.stats.sent[url] > 0)
            until(lambda: len(_said(caplog)) > 1)
    assert _said(caplog)[:2] == [
        f"Alertmanager {url} does not take alerts: All connection attempts failed; they are sent again",
        f"Alertmanager {url} takes alerts again",
    ]


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("joulebook")]


def test_server_that_is_away_at_the_end(tmp_path: Path, people: Receiver, alert: Alert) -> None:
    """A server that is restarted while an alert resolves hears of it, even when that was long ago."""
    port = free_port()
    book = MadeUpBook([alert])
    url = f"http://127.0.0.1:{port}"
    with LiveDelivery(book, url, resend_s=0.05) as live:
        with alertmanager(tmp_path, webhook=people.url, port=port) as server:
            people.wait_for(("firing", _NAME))
            # Else it would not know after its restart that people wait for the end.
            until(server.has_noted)
        failed = live.stats.failed[url]
        until(lambda: live.stats.failed[url] > failed)
        book.held = [resolved(alert, minutes_ago=10)]
        live.delivery.changed()
        with alertmanager(tmp_path, webhook=people.url, port=port):
            people.wait_for(("firing", _NAME), ("resolved", _NAME))


def test_server_that_hangs(tmp_path: Path, alert: Alert) -> None:
    """A server that hangs keeps the alerts from no other; when it goes on it has them too."""
    with (
        alertmanager(tmp_path / "1") as hung,
        alertmanager(tmp_path / "2") as sound,
    ):
        os.kill(hung.pid, signal.SIGSTOP)
        try:
            # kill() returns before every thread has stopped, and one of them might still answer.
            os.waitid(os.P_PID, hung.pid, os.WSTOPPED)
            with LiveDelivery(MadeUpBook([alert]), hung.url, sound.url, resend_s=0.05, timeout_s=2.0) as live:
                until(lambda: live.stats.sent.get(sound.url, 0) > 1)
                assert live.stats.sent[hung.url] == 0
                until(lambda: live.stats.failed[hung.url] > 0)
                os.kill(hung.pid, signal.SIGCONT)
                until(lambda: bool(hung.alerts()))
        finally:
            os.kill(hung.pid, signal.SIGCONT)


def test_refusal_is_told(tmp_path: Path, alert: Alert, caplog: pytest.LogCaptureFixture) -> None:
    """What the server refuses is logged in its own words, and what it can read it has all the same."""
    book = MadeUpBook([firing({"bad-name": "x"}), alert])
    with alertmanager(tmp_path) as server, LiveDelivery(book, server.url) as live:
        until(lambda: live.stats.failed.get(server.url, 0) >= 2)
        until(lambda: bool(_said(caplog)))
        assert [found["labels"]["alertname"] for found in server.alerts()] == [_NAME]
    (said,) = _said(caplog)
    assert "does not take alerts: 400 Bad Request: " in said
    assert "bad-name" in said


def test_stop_resolves_nothing(tmp_path: Path, people: Receiver, alert: Alert) -> None:
    """A collector that stops leaves its alerts firing, and the next one goes on with the same ones."""
    book = MadeUpBook([alert])
    with alertmanager(tmp_path, webhook=people.url) as server:
        with LiveDelivery(book, server.url):
            people.wait_for(("firing", _NAME))
        (left,) = server.alerts()
        with LiveDelivery(book, server.url, resend_s=0.05):
            until(lambda: server.alerts()[0]["updatedAt"] > left["updatedAt"])
        (again,) = server.alerts()
    assert again["startsAt"] == left["startsAt"]
    assert people.told == [("firing", _NAME)]


def test_credentials_go_to_a_server_that_proves_itself(
    tmp_path: Path, alert: Alert, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Over TLS that the system's certificates vouch for, a password is sent, and never logged."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    (tmp_path / "server.pem").write_bytes(
        b"".join(pem.bytes() for pem in certificate.cert_chain_pems) + certificate.private_key_pem.bytes()
    )
    web = tmp_path / "web.yml"
    # The password is "secret", hashed with bcrypt as the server wants it.
    web.write_text(
        "tls_server_config:\n"
        f"  cert_file: {tmp_path}/server.pem\n"
        f"  key_file: {tmp_path}/server.pem\n"
        "basic_auth_users:\n"
        "  joulebook: $2b$04$N9qo8uLOickgx2ZMRZoMye3eddwbvBZq9Vw2uHywyANtuDH4xsNoe\n"
    )
    password = tmp_path / "alertmanager.secret"
    password.write_text("joulebook:wrong\n")
    authority.cert_pem.write_to_path(str(tmp_path / "system.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    with (
        alertmanager(tmp_path / "server", web=web) as server,
        LiveDelivery(
            MadeUpBook([alert]), server.url, resend_s=0.05, alertmanager_credentials=str(password)
        ) as live,
    ):
        until(lambda: bool(_said(caplog)))
        # A password that was changed is taken up without a restart.
        password.write_text("joulebook:secret\n")
        until(lambda: live.stats.sent[server.url] > 0)
    assert "401 Unauthorized" in _said(caplog)[0]
    assert "secret" not in caplog.text.replace(str(password), "")
