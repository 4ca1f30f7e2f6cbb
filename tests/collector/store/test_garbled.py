"""What a server gives back that was never put there is told as that: no other exception, no other joule."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.facts.mark import numbers as run_lengths_read
from joulebook.collector.store.influxdb_address import InfluxAddress
from joulebook.collector.store.influxdb_http import InfluxServer
from joulebook.collector.store.influxdb_reads import Reads as InfluxReads
from joulebook.collector.store.influxdb_refusal import refusal
from joulebook.collector.store.influxdb_setup import setup
from joulebook.collector.store.protocol import BeyondRetentionError, StoreError
from joulebook.collector.store.victoriametrics.address import VictoriaAddress
from joulebook.collector.store.victoriametrics.server import VictoriaServer, numbers
from tests.simulated.delivery import EVER
from tests.simulated.garbage import ANY, spoilt, spoilt_bytes

_EXAMPLES = 40


class _Server(ThreadingHTTPServer):
    """Answers everything with the same bytes."""

    daemon_threads = True
    said = b""
    version = ""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = self.server.said
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        if self.server.version:
            self.send_header("X-Influxdb-Version", self.server.version)
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST  # noqa: N815


@pytest.fixture(scope="module")
def garbled() -> Iterator[_Server]:
    """A server that says what a test has it say."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
_NAMES = ["time", "node", "boot", "clock", "layout", "start_us", "end_us", "start_unix_us", "ledger_rows"]
_NAMES += ["unread_us", "raised_uj", "interval_us", "first_uj", "last_uj", "account", "job", "name", "energy"]
_TAGS = st.dictionaries(st.sampled_from(_NAMES), st.text(max_size=9) | _ANY, max_size=6)
_ROW = st.lists(
    st.sampled_from([0, 1, -1, 1 << 70, 1.5, "1,2", "00", "9*99999999999", None, True]), max_size=18
)
_PART = st.fixed_dictionaries(
    {
        "columns": st.just(_NAMES) | st.lists(st.sampled_from(_NAMES), max_size=18),
        "tags": _TAGS | _ANY,
        "values": st.lists(
            st.lists(st.sampled_from([1, "1", "00", None]), min_size=18, max_size=18) | _ROW, max_size=3
        )
        | _ANY,
    }
)
_ANSWER = st.fixed_dictionaries(
    {
        "results": st.lists(
            st.fixed_dictionaries(
                {
                    "statement_id": st.integers(-1, 4) | _ANY,
                    "series": st.lists(_PART, max_size=3) | _ANY,
                }
            )
            | _ANY,
            max_size=3,
        )
        | _ANY
    }
)


@pytest.mark.parametrize("said", [b"<html>502</html>", b'{"results": [{"series": 1}]}', b"[]", b"1"])
def test_who_answers_instead_is_told_of(garbled: _Server, said: bytes) -> None:
    """The error names the server, what is wrong with its answer, and what may be the cause."""
    garbled.said = said
    port = garbled.server_address[1]
    reads = InfluxReads(InfluxServer(InfluxAddress.parse(f"influxdb://127.0.0.1:{port}/energy")))
    server = VictoriaServer(VictoriaAddress.parse(f"victoriametrics://127.0.0.1:{port}"))
    for ask in (reads.tails, lambda: list(server.export("{}", 0, 1))):
        with pytest.raises(StoreError, match=rf"127.0.0.1:{port}: gave back .* does something else answer"):
            ask()
    reads.close()
    server.close()


def _bytes(said: Any) -> bytes:
    return said if isinstance(said, bytes) else json.dumps(said).encode()


@settings(max_examples=_EXAMPLES, deadline=None)
@given(said=st.binary(max_size=60) | (_ANSWER | _ANY).map(_bytes))
def test_influxdb_answers_are_understood_or_told(garbled: _Server, said: bytes) -> None:
    """Whatever stands in for its answer, each question ends in rows of whole numbers or a StoreError."""
    garbled.said = said
    address = InfluxAddress.parse(f"influxdb://127.0.0.1:{garbled.server_address[1]}/energy")
    reads = InfluxReads(InfluxServer(address))
    questions: list[Callable[[], object]] = [
        reads.tails,
        reads.nodes,
        reads.jobs,
        lambda: reads.spans("n1", b"b" * 16, 0, 1),
        lambda: reads.layout("n1", 1),
        lambda: reads.watched(EVER),
        lambda: reads.points(EVER, 1, None),
        lambda: reads.revisions(["slurm.1"]),
        lambda: reads.energy_over_time(0, 60_000_000, 1_000_000, None),
    ]
    for ask in questions:
        with suppress(StoreError):
            ask()
    with suppress(StoreError):
        for account in reads.accounts(EVER):
            assert all(type(uj) is int for uj in (*account.active_uj, *account.idle_uj))
    reads.close()


_EXPORTED = st.fixed_dictionaries(
    {
        "metric": st.fixed_dictionaries({"__name__": st.sampled_from(["ledger_energy_uj", "x"])}) | _ANY,
        "values": st.lists(st.integers(0, 9) | st.just(1.5) | st.none(), max_size=3) | _ANY,
        "timestamps": st.lists(st.integers(0, 9), max_size=3) | _ANY,
    }
)


@settings(max_examples=_EXAMPLES, deadline=None)
@given(said=st.binary(max_size=60) | st.lists((_EXPORTED | _ANY).map(_bytes), max_size=2).map(b"\n".join))
def test_victoriametrics_answers_are_understood_or_told(garbled: _Server, said: bytes) -> None:
    """Whatever stands in for an export, it ends in as many whole numbers as times, or in a StoreError."""
    garbled.said = said
    server = VictoriaServer(VictoriaAddress.parse(f"victoriametrics://127.0.0.1:{garbled.server_address[1]}"))
    with suppress(StoreError):
        for _, times, values in server.export("{}", 0, 1):
            assert times.shape == values.shape
    server.close()


@settings(max_examples=2 * _EXAMPLES, deadline=None)
@given(
    st.text('0123456789,-.e[] n"', max_size=24).map(lambda text: f"[{text}]")
    | st.text('0123456789,-.e[] n"', max_size=24)
    | st.lists(st.integers(-(1 << 65), 1 << 65)).map(json.dumps)
)
def test_numbers_are_read_whole_or_not_at_all(raw: str) -> None:
    """A list of numbers of 63 bits is read as JSON reads it; of anything else nothing is read."""
    try:
        read = numbers(raw.encode()).tolist()
    except (ValueError, OverflowError, msgspec.MsgspecError):
        read = None
    try:
        said = json.loads(raw)
        whole = isinstance(said, list) and all(type(n) is int and abs(n) < 1 << 63 for n in said)
    except ValueError:
        whole = False
    if whole:
        assert read == said
    elif read is not None:
        # Zeros before a number, which JSON does not have.
        assert read == [int(n) for n in raw[1:-1].split(",")]


@settings(max_examples=_EXAMPLES, deadline=None)
@given(st.text("0123456789,*-x", max_size=20))
def test_run_lengths_are_read_or_refused(text: str) -> None:
    """What is no list of numbers, or one without end, is a ValueError and takes no memory."""
    try:
        assert len(run_lengths_read(text)) <= 100_000
    except (ValueError, OverflowError):
        assert text


_ORGS: dict[str, Any] = {"orgs": [{"id": "a", "name": "o"}], "content": [{"retention_policy": "autogen"}]}
_ORGS |= {"buckets": [{"id": "b", "name": "energy"}], "id": "c"}


@pytest.mark.parametrize("version", ["1.8.10", "v2.7.1", "3.0.1"])
@settings(max_examples=_EXAMPLES // 3)
@given(said=st.binary(max_size=60) | (spoilt(_ORGS) | _ANSWER | ANY).map(_bytes))
def test_a_server_that_is_set_up_says_anything(garbled: _Server, version: str, said: bytes) -> None:
    """Whatever a server of any version answers to what sets it up, it is done or a StoreError."""
    garbled.said, garbled.version = said, version
    address = InfluxAddress.parse(f"influxdb://127.0.0.1:{garbled.server_address[1]}/energy?org=o")
    server = InfluxServer(address)
    with suppress(StoreError):
        assert all(isinstance(done, str) for done in setup(server))
    server.close()


@given(
    st.text(max_size=200) | spoilt({"error": "e", "data": [{"line_number": 3}]}).map(json.dumps),
    st.integers(100, 599),
)
def test_refusals_of_any_words_are_told(answer: str, status: int) -> None:
    """Whatever a server says when it refuses, the error is one of ours, of readable length."""
    error = refusal("store x", status, answer)
    assert isinstance(error, (StoreError, BeyondRetentionError))
    assert len(str(error)) < 2000


@settings(max_examples=_EXAMPLES // 3)
@given(
    said=spoilt_bytes(b'-retentionPeriod="12.5y"\n-dedup.minScrapeInterval="0s"\n') | st.binary(max_size=60)
)
def test_flags_of_any_bytes_are_flags_or_told(garbled: _Server, said: bytes) -> None:
    """Whatever stands at /flags, how long samples are kept is a whole number, not known, or a StoreError."""
    garbled.said = said
    server = VictoriaServer(VictoriaAddress.parse(f"victoriametrics://127.0.0.1:{garbled.server_address[1]}"))
    with suppress(StoreError):
        assert isinstance(server.retention_ms(), int | None)
    server.close()
