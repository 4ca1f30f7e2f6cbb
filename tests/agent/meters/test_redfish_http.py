"""Whatever answers in a BMC's place, in HTTP or not, is a document or an error that says what mends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.meters.bmc import AskError
from joulebook.agent.meters.redfish_documents import link
from joulebook.agent.meters.redfish_http import RedfishService
from tests.servers.said import Said
from tests.simulated.garbage import spoilt_bytes

_OK = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"PowerWatts": 7}'
_MOVED = b"HTTP/1.1 301 Moved\r\nLocation: /redfish/v1/Systems\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def bmc() -> Iterator[Said]:
    """A BMC that says what a test has it say."""
    made = Said()
    yield made
    made.close()


def _ask(bmc: Said) -> None:
    service = RedfishService(bmc.url, timeout_s=60)
    try:
        assert isinstance(service.get("/redfish/v1"), dict)
    except AskError as error:
        assert error.fix, error  # noqa: PT017  (one that is raised, and one that is not)
    finally:
        service.close()


@settings(max_examples=60)
@given(said=spoilt_bytes(_OK) | spoilt_bytes(_MOVED) | st.binary(max_size=60))
def test_any_bytes(bmc: Said, said: bytes) -> None:
    """Whatever bytes come, they are a JSON object or an AskError with a fix."""
    bmc.said = said
    _ask(bmc)


@pytest.mark.parametrize(
    "where", ["http://[", "http://127.0.0.1:99999999/", "//[::1", "\u00e4/\u00f6", "/a b\tc"]
)
def test_a_redirection_to_no_address(bmc: Said, where: str) -> None:
    """Where it sends elsewhere to what is no address, it is told of."""
    bmc.said = f"HTTP/1.1 301 x\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    _ask(bmc)


@pytest.mark.parametrize(
    "body", [b'{"a": 1e999999999999999999999}', b'{"a": NaN}', b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_numbers_beyond_numbers(bmc: Said, body: bytes) -> None:
    """A number that no number type holds is no fault of ours."""
    bmc.said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    _ask(bmc)


@pytest.mark.parametrize("path", ["/a b", "/\u00e4", "/\r\nX: y", "/\ud800", "x", "/" + "a" * 5000, 7])
def test_a_path_that_cannot_be_asked_for_is_none(path: object) -> None:
    """What may not stand in a request's first line is no reference."""
    assert link({"to": {"@odata.id": path}}, "to") == ""
