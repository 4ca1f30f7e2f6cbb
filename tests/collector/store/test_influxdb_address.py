"""Addresses and credentials of an InfluxDB are checked before anything is sent."""

from pathlib import Path

import pytest

from joulebook.collector.config import CollectorConfig
from joulebook.collector.store.credentials import authorization
from joulebook.collector.store.influxdb_address import InfluxAddress
from joulebook.collector.store.protocol import StoreError


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ("influxdb://db:8086/joulebook", "http://db:8086"),
        ("influxdbs://db:443/joulebook", "https://db:443"),
        ("influxdb://[::1]:8086/joulebook", "http://[::1]:8086"),
    ],
)
def test_address(store: str, url: str) -> None:
    """Scheme, host and port make the URL; the path is the database."""
    parsed = InfluxAddress.parse(store)
    assert (parsed.url, parsed.database) == (url, "joulebook")


def test_organisation_in_the_address() -> None:
    """InfluxDB 2 keeps buckets by organisation, which the address may name."""
    parsed = InfluxAddress.parse("influxdb://db:8086/joulebook?org=the%20lab")
    assert (parsed.database, parsed.org) == ("joulebook", "the lab")
    assert InfluxAddress.parse("influxdb://db:8086/joulebook").org == ""


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("influxdb://db/joulebook", "expected influxdb://host:port/database"),
        ("influxdb://db:8086", "database '': expected a name"),
        ("influxdb://db:8086/a/b", "database 'a/b': expected a name"),
        ("influxdb://db:x/a", "expected influxdb://host:port/database"),
        ("influxdb://db:8086/a?token=t0p", "expected influxdb://host:port/database"),
        ("influxdb://db:8086/a?org=x&org=y", "and ?org=NAME for InfluxDB 2"),
        ("influxdb://ada:s3cret@db:8086/a", "put it in a file"),
    ],
)
def test_bad_address_in_the_configuration(store: str, expected: str) -> None:
    """What is wrong with an address is said with the key and the value, but never with a password."""
    (said,) = CollectorConfig(store=store).errors()
    assert said.startswith("collector.store = ")
    assert expected in said
    assert "s3cret" not in said


def test_credentials_do_not_go_in_the_clear(tmp_path: Path) -> None:
    """Credentials for another machine need TLS, or the word that it may be without."""
    secret = tmp_path / "secret"
    secret.write_text("token")
    given = {"store": "influxdb://db:8086/joulebook", "store_credentials": str(secret)}
    (said,) = CollectorConfig(**given).errors()  # type: ignore[arg-type]
    assert "without TLS; write influxdbs://" in said
    assert CollectorConfig(**given, insecure=True).errors() == []  # type: ignore[arg-type]
    assert CollectorConfig(**given | {"store": "influxdbs://db:8086/joulebook"}).errors() == []  # type: ignore[arg-type]


def test_credentials_of_each_version(tmp_path: Path) -> None:
    """user:password is for InfluxDB 1, a token for later ones; a file without either is named."""
    secret = tmp_path / "secret"
    for held, header in (("ada:pw\n", "Basic YWRhOnB3"), ("t0p\n", "Token t0p")):
        secret.write_text(held)
        assert authorization(str(secret)) == header
    secret.write_text("a\nb")
    with pytest.raises(StoreError, match="expected one line, user:password or a token"):
        authorization(str(secret))
    with pytest.raises(StoreError, match="cannot be read"):
        authorization(str(tmp_path / "none"))
    assert authorization("") == ""
