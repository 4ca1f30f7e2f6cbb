"""What Kubernetes says of a pod becomes facts of a job; what it never says is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.schedulers.pod_answers import RefusedError, parse_event, parse_page
from joulebook.collector.schedulers.pods import Labels, deleted
from joulebook.collector.store.scheduled import Scheduled
from tests.servers.kubernetes import status_of
from tests.servers.pods import UID, Pod, container, ended, pod

NOW_US = 1_796_040_000_000_000
BEGAN_US = 1_796_032_800_000_000
LABELS = Labels(user="example.org/asked-by", partition="kueue.x-k8s.io/queue-name")


def told(one: Pod, labels: Labels = LABELS) -> Scheduled:
    """Return what is told of a pod."""
    said = {"metadata": {"resourceVersion": "9"}, "items": [one]}
    (found,) = parse_page(json.dumps(said).encode(), labels, NOW_US).pods.values()
    return found


def test_a_pod_that_runs() -> None:
    """Who asked for it and pays, what made it, what it holds, since when."""
    assert told(pod()) == Scheduled(
        name="prod/train-x7k2p", user="ada@example.org", account="prod", partition="gpus", owner="Job/train",
        state="Running", node_count=1, millicpus=4000, gpus=2, memory_bytes=1 << 30, submit_us=BEGAN_US,
        start_us=BEGAN_US + 1_000_000, told_us=NOW_US,
    )  # fmt: skip
    assert told(pod(), Labels(account="app")).account == "train"
    assert told(pod(), Labels(account="none")).account == "prod"
    assert told(pod(startTime=None)).start_us == BEGAN_US + 4_000_000


@pytest.mark.parametrize(
    ("phase", "status", "expected"),
    [
        ("Succeeded", {"containerStatuses": [ended(0)]}, ("Succeeded", 3600, 0)),
        ("Failed", {"containerStatuses": [ended(0), ended(3)]}, ("Failed (Error)", 3600, 3)),
        (
            "Failed",
            {"containerStatuses": [ended(137, reason="OOMKilled"), ended(0, "2026-11-30T11:00:02Z")]},
            ("Failed (OOMKilled)", 3602, 137),
        ),
        ("Failed", {"containerStatuses": [ended(0, signal=9)]}, ("Failed", 3600, 137)),
        # A helper beside them that was ended is nobody's failure.
        (
            "Succeeded",
            {"containerStatuses": [ended(0)], "initContainerStatuses": [ended(143)]},
            ("Succeeded", 3600, 0),
        ),
        ("Failed", {"reason": "Evicted", "containerStatuses": None}, ("Failed (Evicted)", 5, None)),
        ("Failed", {"containerStatuses": [], "conditions": []}, ("Failed", None, None)),
        (
            "Pending",
            {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
            ("Pending (ImagePullBackOff)", None, None),
        ),
        # It is started again.
        ("Running", {"containerStatuses": [ended(1)]}, ("Running", None, None)),
    ],
)  # fmt: skip
def test_how_it_stands(
    phase: str, status: dict[str, Any], expected: tuple[str, int | None, int | None]
) -> None:
    """Its phase and why; an end and an exit status only of what will not run again."""
    found = told(pod(phase=phase, **status))
    end_s = None if found.end_us is None else (found.end_us - BEGAN_US) // 1_000_000
    assert (found.state, end_s, found.exit_status) == expected


def test_who_made_it() -> None:
    """The owner that controls it; a Deployment is known by how it names its ReplicaSets."""
    one = pod()

    def owner(*owners: dict[str, Any], **labels: str) -> str:
        one["metadata"] |= {"ownerReferences": list(owners), "labels": labels}
        return told(one).owner

    replicas = {"kind": "ReplicaSet", "name": "web-5d9f", "controller": True}
    assert owner(replicas, **{"pod-template-hash": "5d9f"}) == "Deployment/web"
    assert owner(replicas) == owner(replicas, **{"pod-template-hash": "d9f"}) == "ReplicaSet/web-5d9f"
    assert owner({"kind": "X", "name": "y"}, {"kind": "StatefulSet", "name": "db", "controller": True}) == (
        "StatefulSet/db"
    )
    assert owner() == owner({"kind": "X", "name": "y", "controller": False}) == ""


def test_what_it_holds_of_gpus() -> None:
    """Whole ones are counted, parts told by name; what is claimed otherwise is not known."""
    one = pod()

    def held(*requests: dict[str, str], **spec: Any) -> tuple[int | None, str]:
        one["spec"] = {"containers": [container(each) for each in requests]} | spec
        found = told(one)
        return found.gpus, found.gpu_parts

    assert held({"nvidia.com/gpu": "1"}, {"nvidia.com/gpu": "2", "amd.com/gpu": "1"}) == (4, "")
    assert held(
        {"nvidia.com/mig-1g.10gb": "2"}, {"nvidia.com/mig-1g.10gb": "1", "amd.com/cpx_nps4": "1"}
    ) == (
        0,
        "cpx_nps4:1,mig-1g.10gb:3",
    )
    assert held({"nvidia.com/gpu.shared": "1", "nvidia.com/hostdev": "1"}) == (0, "gpu.shared:1")
    assert held({"cpu": "1"}) == (0, "")
    assert held({"cpu": "1"}, resourceClaims=[{"name": "gpu"}]) == (None, "")
    none = told(one | {"spec": {}})
    assert (none.node_count, none.millicpus, none.memory_bytes) == (None, None, None)


def test_a_pod_that_is_a_file_of_its_node() -> None:
    """The kubelet knows it by a hash; nobody else's pod is taken for one by saying so."""
    mirror, uid = pod(), "9f3c" * 8
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.hash": uid, "kubernetes.io/config.mirror": uid}

    def known_as(one: Pod) -> str:
        said = {"metadata": {}, "items": [one]}
        (found,) = parse_page(json.dumps(said).encode(), LABELS, NOW_US).pods
        return found

    assert known_as(mirror) == UID
    mirror["metadata"]["ownerReferences"] = [{"kind": "Node", "name": "n1", "controller": True}]
    assert known_as(mirror) == uid
    mirror["spec"]["nodeName"] = "n2"
    assert known_as(mirror) == UID
    mirror["spec"]["nodeName"] = "n1"
    mirror["metadata"]["annotations"]["kubernetes.io/config.hash"] = UID
    assert known_as(mirror) == UID


def test_what_was_deleted() -> None:
    """How it ended stays; where it had not, it did when it was deleted."""
    failed = told(pod(phase="Failed", containerStatuses=[ended(3)]))
    assert deleted(failed, NOW_US) == failed
    gone = deleted(told(pod()), NOW_US)
    assert (gone.state, gone.end_us, gone.exit_status) == ("Deleted", NOW_US, None)
    evicted = deleted(told(pod(phase="Failed", reason="Evicted", conditions=None)), NOW_US)
    assert (evicted.state, evicted.end_us) == ("Failed (Evicted)", NOW_US)


def test_names_may_hold_anything() -> None:
    """What cannot be printed is spelled out, what is long is cut."""
    one = pod()
    one["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "a\nb" + "x" * 300
    one["metadata"]["annotations"]["example.org/asked-by"] = "\x1b[31mada"
    found = told(one)
    assert (found.partition[:4], len(found.partition)) == ("a\\nb", 255)
    assert found.user == "\\x1b[31mada"


@pytest.mark.parametrize(
    "said",
    [
        b"", b"<html>", b"[]", b'{"items": []}', b'{"metadata": {}, "items": [{}]}', b"[" * 100_000, b"\xff",
        json.dumps({"metadata": {}, "items": [pod(startTime="soon")]}).encode(),
        json.dumps({"metadata": {}, "items": [pod(startTime="2026-11-30T10:00:01")]}).encode(),
        json.dumps(
            {"metadata": {}, "items": [pod() | {"spec": {"containers": [container({"cpu": "x"})]}}]}
        ).encode(),
    ],
)  # fmt: skip
def test_what_is_no_list(said: bytes) -> None:
    """Nothing of it is taken."""
    with pytest.raises(ValueError, match=r"never says|expected a quantity"):
        parse_page(said, LABELS, NOW_US)


def event(kind: str, what: object) -> bytes:
    return json.dumps({"type": kind, "object": what}).encode()


def test_events() -> None:
    """What became of a pod, how far the server is, and that it goes no further."""
    found = parse_event(event("MODIFIED", pod()), LABELS, NOW_US)
    assert (found.version, found.uid, found.told, found.is_deletion) == ("7", UID, told(pod()), False)
    assert parse_event(event("DELETED", pod()), LABELS, NOW_US).is_deletion
    mark = {"kind": "Pod", "metadata": {"resourceVersion": "12746", "creationTimestamp": None}, "spec": None}
    assert parse_event(event("BOOKMARK", mark), LABELS, NOW_US).version == "12746"
    with pytest.raises(RefusedError, match="too old resource version") as refused:
        parse_event(
            event("ERROR", status_of(410, "Expired", "too old resource version: 1 (2)")), LABELS, NOW_US
        )
    assert refused.value.code == 410
    for said in (event("RENAMED", pod()), event("ADDED", {}), b'{"type": "ADDED"}', b"{"):
        with pytest.raises(ValueError, match="never says"):
            parse_event(said, LABELS, NOW_US)


@given(
    st.binary()
    | st.sampled_from(["ADDED", "ERROR", "BOOKMARK"]).map(lambda kind: event(kind, {"metadata": {}}))
)
def test_whatever_comes_is_taken_or_refused(said: bytes) -> None:
    """Any bytes at all."""
    for parse in (parse_page, parse_event):
        with contextlib.suppress(ValueError, RefusedError):
            parse(said, LABELS, NOW_US)
