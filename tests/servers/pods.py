"""Pods as the API server of Kubernetes tells of them."""

from __future__ import annotations

from typing import Any

UID = "0a1b2c3d-1111-2222-3333-444455556666"
Pod = dict[str, Any]


def pod(uid: str = UID, name: str = "train-x7k2p", phase: str = "Running", **status: Any) -> Pod:
    """Return a pod of a Job with a container that holds two GPUs, a sidecar, and what a Pod has besides."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "generateName": "train-",
            "namespace": "prod",
            "uid": uid,
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-30T10:00:00Z",
            "labels": {"app": "train", "kueue.x-k8s.io/queue-name": "gpus"},
            "annotations": {"example.org/asked-by": "ada@example.org"},
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "j",
                    "controller": True, "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
        },
        "spec": {
            "nodeName": "n1",
            "restartPolicy": "Never",
            "containers": [
                container({"cpu": "1500m", "memory": "1Gi", "nvidia.com/gpu": "2"}),
                container({"cpu": "0.1"}),
            ],
            "initContainers": [container({"cpu": "4", "memory": "100M"})],
        },
        "status": {
            "phase": phase,
            "startTime": "2026-11-30T10:00:01Z",
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-30T10:00:05Z"}
            ],
            "containerStatuses": [_status({"running": {"startedAt": "2026-11-30T10:00:04Z"}})],
            "qosClass": "Burstable",
        }
        | status,
    }  # fmt: skip


def container(requests: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return a container that asks for so much."""
    return {"name": "main", "image": "x", "resources": {"requests": requests, "limits": requests}} | more


def ended(code: int, at: str = "2026-11-30T11:00:00Z", **more: Any) -> dict[str, Any]:
    """Return the status of a container that ended."""
    began = "2026-11-30T10:00:04Z"
    reason = "Error" if code else "Completed"
    state = {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": at} | more
    return _status({"terminated": state})


def _status(state: dict[str, Any]) -> dict[str, Any]:
    # What the API demands besides.
    demanded = {"image": "x", "imageID": "sha256:x", "restartCount": 0, "ready": "running" in state}
    return {"name": "main", "state": state, "lastState": {}} | demanded
