"""Where alerts are sent is checked before anything is sent there."""

from pathlib import Path

import pytest

from joulebook.collector.alerts.config import AlertsConfig


def _errors(**given: object) -> list[str]:
    return AlertsConfig(**given).errors()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alertmanagers": ["am:9093"]}, "alerts.alertmanagers = 'am:9093': expected http://host:port"),
        ({"alertmanagers": ["http://am:9093/?x"]}, "expected http://host:port or https://host:port"),
        ({"alertmanagers": ["http://u:hush@am:9093"]}, "alerts.alertmanagers = 'http://…@am:9093': expected"),
        ({"alertmanagers": ["http://am", "http://am"]}, "expected each of them once"),
        ({"external_url": "joulebook.example"}, "alerts.external_url = 'joulebook.example': expected http"),
        ({"alertmanager_credentials": "/none"}, "alerts.alertmanager_credentials = '/none': no such file"),
    ],
)
def test_faults(given: dict[str, object], said: str) -> None:
    """A fault names the key, its value and what was expected, and no password."""
    (found,) = _errors(**given)
    assert said in found
    assert "hush" not in found


def test_credentials_do_not_go_in_the_clear(tmp_path: Path) -> None:
    """Credentials go to another machine over TLS or not at all; this machine may read them."""
    file = tmp_path / "secret"
    file.write_text("a:b")
    given = {"alertmanager_credentials": str(file)}
    (said,) = _errors(alertmanagers=["http://am.example:9093"], **given)
    assert "credentials would go there without TLS; write https://" in said
    for url in ("https://am.example:9093", "http://127.0.0.1:9093", "http://[::1]:9093/am"):
        assert _errors(alertmanagers=[url], **given) == []
    assert _errors(alertmanagers=["http://am.example:9093"]) == []
