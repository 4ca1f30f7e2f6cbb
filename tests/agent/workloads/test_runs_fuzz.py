"""Whatever a client sends to the run socket, the agent goes on, and only what is valid becomes a run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.workloads.runs import LostRun, RunSocket
from joulebook.agent.workloads.runwire import BeginRun, EndRun
from tests.agent.workloads.test_runs import BEGIN, begin, connect, handle_all, send

_VALID = [msgspec.json.encode(BEGIN), msgspec.json.encode(EndRun("run.x", 3, 1234))]


@st.composite
def _changed(draw: st.DrawFn) -> bytes:
    """Change some bytes of a valid packet: others in their place, fewer, or more."""
    packet = bytearray(draw(st.sampled_from(_VALID)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(packet)))
        packet[place : place + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    # An empty packet is a connection's end.
    return bytes(packet) or b"\0"


@settings(max_examples=150, deadline=None)
@given(packets=st.lists(st.one_of(_changed(), st.binary(min_size=1, max_size=200)), min_size=1, max_size=5))
def test_any_bytes_are_answered_and_harm_nobody(packets: list[bytes]) -> None:
    """Each packet is refused with a reason or is a run that could be; a run of another client goes on."""
    with tempfile.TemporaryDirectory(prefix="joulebook-run-") as directory:
        path = Path(directory) / "run.sock"
        server = RunSocket(path)
        try:
            with connect(path) as good:
                begin(server, good)
                for packet in packets:
                    with connect(path) as bad:
                        send(bad, packet)
                        for request in handle_all(server):
                            # What it announced it may be; of somebody else's run it ends nothing.
                            assert isinstance(request.message, BeginRun | LostRun)
                            if isinstance(request.message, BeginRun):
                                assert request.message.id.startswith("run.")
                                assert request.message.pid > 0
                    handle_all(server)
                send(good, EndRun("run.x", 0, 0))
                (ended,) = handle_all(server)
                assert ended.message == EndRun("run.x", 0, 0)
        finally:
            server.close()
