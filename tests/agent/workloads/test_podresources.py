"""The kubelet's podresources socket, asked as the agent does, on a real gRPC server."""

import socketserver
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.clock import boot_us
from joulebook.agent.source import UNREADABLE, WORKING, Finding
from joulebook.agent.workloads.gpus import Gpu
from joulebook.agent.workloads.podresources import KubeletSilentError, PodResources, ask
from joulebook.agent.workloads.settings import WorkloadsConfig
from joulebook.agent.workloads.visible import allotted
from joulebook.agent.workloads.workload import Workload
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import V2, FakeCgroups
from tests.servers.kubelet import kubelet
from tests.simulated.garbage import spoilt_bytes

UIDS = [f"0000000{n}-1111-2222-3333-444444444444" for n in range(3)]
PODS = [f"k8s.{uid}" for uid in UIDS]


@dataclass
class Card:
    """A GPU that nobody is on."""

    domain: str
    index: int
    uuid: str
    minor: int
    parts: dict[str, int] = field(default_factory=dict)
    model: str = "H200"
    rocr_devices: int = 0
    device_numbers: frozenset[tuple[int, int]] = frozenset()

    def processes(self, now_us: int) -> dict[int, int]:  # noqa: ARG002  (as a driver's)
        return {}


CARDS: list[Gpu] = [
    Card(f"gpu.{n}", n, f"GPU-{n}0000000-aaaa-bbbb-cccc-dddddddddddd", n, parts)
    for n, parts in enumerate(({}, {"MIG-1": 250_000, "MIG-2": 500_000}, {}))
]


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="joulebook-kubelet-") as directory:  # short enough for a socket
        yield Path(directory) / "kubelet.sock"


@dataclass
class Pods:
    """Three pods as the kubelet makes them, seen by an agent with three GPUs."""

    directory: Path
    socket: Path
    workloads: Workloads = field(init=False)

    def __post_init__(self) -> None:
        fake = FakeCgroups(self.directory, V2)
        logs = self.directory / "logs"
        for number, uid in enumerate(UIDS):
            fake.make(f"/kubepods/burstable/pod{uid}")
            (logs / f"team_pod-{number}_{uid}").mkdir(parents=True)
        roots = replace(fake.roots, pod_logs=logs)
        config = WorkloadsConfig(podresources=str(self.socket))
        self.workloads = Workloads(roots, config, gpus=lambda: CARDS)

    def until(self, holds: Callable[[dict[str, Workload]], bool]) -> dict[str, Workload]:
        deadline_s = time.monotonic() + 300
        while True:
            now_us = boot_us()
            self.workloads.refresh(now_us)
            self.workloads.read(now_us)
            found = {each.id: each for each in self.workloads.workloads}
            if holds(found):
                return found
            assert time.monotonic() < deadline_s, found
            time.sleep(0.01)

    def finding(self) -> Finding | None:
        found = [each for each in self.workloads.probe() if each.name == "workloads.podresources"]
        return found[0] if found else None


@pytest.fixture
def pods(tmp_path: Path, socket: Path) -> Iterator[Pods]:
    pods = Pods(tmp_path, socket)
    yield pods
    pods.workloads.close()


def test_pods_hold_what_the_kubelet_gave_them(pods: Pods) -> None:
    """By UUID, by part and by number: GPUs are their pods', though no process of theirs is there."""
    with kubelet(pods.socket) as server:
        server.pods = {
            ("team", "pod-0"): {"nvidia.com/gpu": [CARDS[0].uuid, "2"], "example.com/nic": ["1"]},
            ("team", "pod-1"): {"nvidia.com/mig-1g.18gb": ["MIG-2"]},
            ("other", "pod-2"): {"nvidia.com/gpu": [CARDS[2].uuid]},
        }
        found = pods.until(lambda found: bool(found[PODS[0]].gpus and found[PODS[1]].gpus))
    assert (found[PODS[0]].gpus, found[PODS[0]].gpu_shares_ppm) == (("gpu.0", "gpu.2"), ())
    assert (found[PODS[1]].gpus, found[PODS[1]].gpu_shares_ppm) == (("gpu.1",), (500_000,))
    assert found[PODS[2]].gpus == (), "another name space's pod of that name is another pod"
    finding = pods.finding()
    assert finding is not None
    assert finding.state == WORKING


def test_only_devices_that_are_gpus_are_taken(socket: Path) -> None:
    """Of every maker's GPUs the ids come; a monitor of all of Intel's has none, nor has a network card."""
    with kubelet(socket) as server:
        server.pods = {
            ("team", "intel"): {"gpu.intel.com/i915": ["card1-0"], "gpu.intel.com/xe": ["card2-1"]},
            ("team", "monitor"): {"gpu.intel.com/i915_monitoring": ["all"], "example.com/nic": ["1"]},
            ("team", "amd"): {"amd.com/gpu": ["amdgpu_xcp_1"]},
        }
        assert ask(socket) == {
            "team/intel": ("card1-0", "card2-1"),
            "team/monitor": (),
            "team/amd": ("amdgpu_xcp_1",),
        }


def test_a_kubelet_that_refuses_or_hangs_holds_nothing_up(pods: Pods) -> None:
    """What is wrong is told with the socket's name; ticks go on, and what it told before stays."""
    with kubelet(pods.socket) as server:
        server.refuses = True
        pods.until(lambda _: (finding := pods.finding()) is not None and finding.state == UNREADABLE)
        finding = pods.finding()
        assert finding is not None
        assert finding.reason == f"{pods.socket}: rejected by rate limit"
        assert "agent.workloads.podresources" in finding.fix
        server.go_on.clear()
        for _ in range(20):
            pods.until(lambda _: True)


def test_without_a_socket_nothing_is_asked(pods: Pods) -> None:
    """A node without a kubelet has no such source, and no thread for it."""
    pods.until(lambda _: True)
    assert pods.finding() is None
    assert PodResources("").devices("team/pod-0") is None


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_is_no_kubelet_is_told_as_that(socket: Path, said: bytes) -> None:
    """A socket behind which something else answers is an error that names it."""

    class Other(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(said)

    with socketserver.UnixStreamServer(str(socket), Other) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(OSError, match=r"kubelet\.sock: "):
            ask(socket)
        thread.join()


def test_devices_by_any_name() -> None:
    """Ids are UUIDs, names of parts, or numbers; a shared GPU's copies are that GPU; others are nobody's."""
    assert allotted([f"{CARDS[0].uuid}::3", f"{CARDS[0].uuid}::1"], CARDS) == (("gpu.0",), {})
    assert allotted(["MIG-1", "MIG-2"], CARDS) == (("gpu.1",), {"gpu.1": 750_000})
    assert allotted(["7", "GPU-ffffffff", ""], CARDS) == ((), {})


# What a server of HTTP/2 says first: its settings, and an answer's head of no header.
_HTTP2 = bytes.fromhex("0000000400000000000000000401000000000000000104000000010000050000000000010000000000")


@settings(max_examples=30)
@given(said=spoilt_bytes(_HTTP2) | st.binary(max_size=60))
def test_whatever_bytes_a_socket_gives_are_a_kubelet_that_is_silent(said: bytes) -> None:
    """A peer that speaks no gRPC, or breaks off within it, is told of as a kubelet that did not answer."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            """Say it, and end."""
            self.request.sendall(said)

    with tempfile.TemporaryDirectory(prefix="jb-") as name:
        path = Path(name, "kubelet.sock")
        with socketserver.UnixStreamServer(str(path), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                with pytest.raises(KubeletSilentError) as caught:
                    ask(path)
            finally:
                server.shutdown()
                thread.join()
    assert str(caught.value).startswith(f"{path}: ")
