"""Kubernetes' words about pods, as facts of jobs.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/. Of an answer nothing but the
fields named here is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeAlias

import msgspec

from joulebook.collector.schedulers.quantities import requested
from joulebook.collector.schedulers.text import told_text
from joulebook.collector.store.scheduled import Scheduled

Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)] | None
Text: TypeAlias = str | None
Texts: TypeAlias = dict[str, str] | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE_GPUS = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe")
# MIG instances, GPUs that are shared by time, partitions of AMD's.
_GPU_PARTS = re.compile(r"(?:nvidia\.com/(?:mig-|gpu\.shared)|amd\.com/[a-z]px_nps)[\w.-]*\Z", re.ASCII)
# The kubelet's id of a pod that is a file of the node; what stands for it at the API server has another.
_FILE = re.compile(r"[0-9a-f]{32}\Z")
_FILE_HASH, _TEMPLATE_HASH = "kubernetes.io/config.hash", "pod-template-hash"
_FINAL = ("Succeeded", "Failed")


class _Struct(msgspec.Struct, rename="camel", frozen=True):
    pass


class _Owner(_Struct, frozen=True):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class _Metadata(_Struct, frozen=True):
    uid: str
    name: str
    namespace: str = ""
    resource_version: str = ""
    creation_timestamp: Time = None
    labels: Texts = None
    annotations: Texts = None
    owner_references: list[_Owner] | None = None


class _Resources(_Struct, frozen=True):
    requests: Texts = None


class _Container(_Struct, frozen=True):
    resources: _Resources | None = None
    restart_policy: Text = None


class _Spec(_Struct, frozen=True):
    node_name: Text = None
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    resources: _Resources | None = None
    overhead: Texts = None
    resource_claims: list[msgspec.Raw] | None = None


class _Waiting(_Struct, frozen=True):
    reason: Text = None


class _Running(_Struct, frozen=True):
    started_at: Time = None


class _Terminated(_Struct, frozen=True):
    exit_code: int = 0
    signal: int = 0
    reason: Text = None
    started_at: Time = None
    finished_at: Time = None


class _State(_Struct, frozen=True):
    waiting: _Waiting | None = None
    running: _Running | None = None
    terminated: _Terminated | None = None


class _ContainerStatus(_Struct, frozen=True):
    state: _State | None = None


class _Condition(_Struct, frozen=True):
    last_transition_time: Time = None


class _Status(_Struct, frozen=True):
    phase: Text = None
    reason: Text = None
    start_time: Time = None
    conditions: list[_Condition] | None = None
    container_statuses: list[_ContainerStatus] | None = None
    init_container_statuses: list[_ContainerStatus] | None = None


class Pod(_Struct, frozen=True):
    """What is read of a pod."""

    metadata: _Metadata
    spec: _Spec = _Spec()
    status: _Status = _Status()


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels or annotations that tell a pod's user, account and partition; "": none does."""

    user: str = ""
    account: str = ""
    partition: str = ""


def told_of(pod: Pod, labels: Labels, now_us: int) -> tuple[str, Scheduled]:
    """Return the id that the kubelet knows a pod by, and what is told of it. Raises ValueError."""
    about, spec, status = pod.metadata, pod.spec, pod.status
    ended = [one.state.terminated for one in _statuses(status) if one.state and one.state.terminated]
    final = status.phase in _FINAL
    reserved = _reserved(spec)
    return _kubelets_uid(about, spec.node_name), Scheduled(
        name=told_text(f"{about.namespace}/{about.name}"),
        user=told_text(_labelled(about, labels.user)),
        account=told_text(_labelled(about, labels.account) or about.namespace),
        partition=told_text(_labelled(about, labels.partition)),
        owner=told_text(_owner(about)),
        state=told_text(_state(status)),
        node_count=1 if spec.node_name else None,
        millicpus=reserved.get("cpu"),
        gpus=_gpus(spec, reserved),
        gpu_parts=told_text(_gpu_parts(reserved)),
        memory_bytes=-(-reserved["memory"] // 1000) if "memory" in reserved else None,
        submit_us=_time_us(about.creation_timestamp),
        start_us=_start_us(status, ended),
        end_us=_end_us(status, ended) if final else None,
        exit_status=_exit_status(status) if final else None,
        told_us=now_us,
    )


def deleted(told: Scheduled, now_us: int) -> Scheduled:
    """Return what is known of a pod once the API server has forgotten it."""
    if told.end_us is not None:
        return told
    state = told.state if told.state.startswith(_FINAL) else "Deleted"
    return replace(told, state=state, end_us=now_us, told_us=now_us)


def _kubelets_uid(about: _Metadata, node: Text) -> str:
    # Such a pod is its node's own. Another one that says so might take its name.
    of_file = (about.annotations or {}).get(_FILE_HASH, "")
    owners = (owner for owner in about.owner_references or () if owner.controller)
    is_nodes = any(owner.kind == "Node" and owner.name == node for owner in owners)
    return of_file if is_nodes and _FILE.match(of_file) else about.uid


def _labelled(about: _Metadata, name: str) -> str:
    if not name:
        return ""
    return (about.labels or {}).get(name) or (about.annotations or {}).get(name) or ""


def _owner(about: _Metadata) -> str:
    """Return what a pod's owner references tell of who made it, as kind/name; "" for nobody.

    A Deployment names its ReplicaSets after itself and the hash that their pods are labelled with.
    """
    owner = next((one for one in about.owner_references or () if one.controller), None)
    if owner is None:
        return ""
    suffix = "-" + (about.labels or {}).get(_TEMPLATE_HASH, "")
    if owner.kind == "ReplicaSet" and len(suffix) > 1 and owner.name.endswith(suffix):
        return f"Deployment/{owner.name.removesuffix(suffix)}"
    return f"{owner.kind}/{owner.name}"


def _statuses(status: _Status) -> Iterator[_ContainerStatus]:
    yield from status.container_statuses or ()
    yield from status.init_container_statuses or ()


def _state(status: _Status) -> str:
    """Return the phase, and why it is in it where that is told."""
    phase, reason = status.phase or "", status.reason
    if not reason and phase in ("Pending", "Failed"):
        states = [one.state for one in _statuses(status) if one.state]
        of_ended = [s.terminated.reason for s in states if s.terminated and s.terminated.exit_code]
        of_waiting = [s.waiting.reason for s in states if s.waiting]
        reason = next(filter(None, of_ended if phase == "Failed" else of_waiting), None)
    return f"{phase} ({reason})" if reason else phase


def _reserved(spec: _Spec) -> dict[str, int]:
    return requested(
        [_asked(one) for one in spec.containers or ()],
        [(_asked(one), one.restart_policy == "Always") for one in spec.init_containers or ()],
        pod=_wanted(spec.resources.requests if spec.resources else None),
        overhead=_wanted(spec.overhead),
    )


def _asked(container: _Container) -> dict[str, str]:
    return _wanted(container.resources.requests if container.resources else None)


def _wanted(resources: Texts) -> dict[str, str]:
    return {
        name: quantity
        for name, quantity in (resources or {}).items()
        if name in ("cpu", "memory", *_WHOLE_GPUS) or _GPU_PARTS.match(name)
    }


def _gpus(spec: _Spec, reserved: dict[str, int]) -> int | None:
    count = sum(reserved.get(name, 0) for name in _WHOLE_GPUS) // 1000
    # What is claimed (Dynamic Resource Allocation) is told elsewhere.
    return None if spec.resource_claims and not count else count


def _gpu_parts(reserved: dict[str, int]) -> str:
    parts = sorted((name, count // 1000) for name, count in reserved.items() if _GPU_PARTS.match(name))
    return ",".join(f"{name.partition('/')[2]}:{count}" for name, count in parts if count)


def _start_us(status: _Status, ended: list[_Terminated]) -> int | None:
    if (accepted_us := _time_us(status.start_time)) is not None:
        return accepted_us
    begun = [one.state.running.started_at for one in _statuses(status) if one.state and one.state.running]
    times = [_time_us(time) for time in (*begun, *(one.started_at for one in ended))]
    return min((time for time in times if time is not None), default=None)


def _end_us(status: _Status, ended: list[_Terminated]) -> int | None:
    """Return when the last container ended; else when the pod's conditions changed last: it was evicted."""
    finished = [time for one in ended if (time := _time_us(one.finished_at)) is not None]
    changed = (_time_us(one.last_transition_time) for one in status.conditions or ())
    return max(finished or [time for time in changed if time is not None], default=None)


def _exit_status(status: _Status) -> int | None:
    """Return what a shell would of the first container that failed; what goes on beside them may fail."""
    if status.phase == "Succeeded":
        return 0
    ended = (one.state.terminated for one in _statuses(status) if one.state and one.state.terminated)
    codes = (one.exit_code or (128 + one.signal if one.signal else 0) for one in ended)
    found = next(filter(None, codes), None)
    return found if found is not None and -(1 << 31) <= found < 1 << 31 else None


def _time_us(time: datetime | None) -> int | None:
    if time is None:
        return None
    unix_us = (time - _EPOCH) // timedelta(microseconds=1)
    return unix_us if unix_us > 0 else None
