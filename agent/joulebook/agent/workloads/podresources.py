"""Which devices the kubelet has allotted to which pods: its podresources socket, asked beside the tick.

https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins, section Monitoring
device plugin resources. It names pods, not their UIDs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from joulebook.agent.clock import boot_us
from joulebook.agent.slow import Slow
from joulebook.agent.source import UNREADABLE, WORKING, Finding
from joulebook.agent.workloads import intel_plugin

_METHOD = "/v1.PodResourcesLister/List"
_PERIOD_US = 10_000_000
_TIMEOUT_S = 3.0
# Of other makers' devices the ids mean something else.
_MAKERS = ("nvidia.com/", "amd.com/")

# (name space)/(pod) → the ids of its devices, as the device plugin calls them.
Allotted = dict[str, tuple[str, ...]]


class KubeletSilentError(OSError):
    """The kubelet did not answer as it should; fix says what mends it."""

    fix = "check agent.workloads.podresources, and that the kubelet runs; let the agent use its socket"


async def _list(path: Path) -> Allotted:
    from grpclib.client import Channel, UnaryUnaryMethod  # noqa: PLC0415  (only where there is a kubelet)

    from joulebook.kubelet.v1 import podresources_pb2 as wire  # noqa: PLC0415  (as above)

    channel = Channel(path=str(path))
    try:
        method: UnaryUnaryMethod[wire.ListPodResourcesRequest, wire.ListPodResourcesResponse] = (
            UnaryUnaryMethod(channel, _METHOD, wire.ListPodResourcesRequest, wire.ListPodResourcesResponse)
        )
        answer = await method(wire.ListPodResourcesRequest(), timeout=_TIMEOUT_S)
    finally:
        channel.close()
    return {
        f"{pod.namespace}/{pod.name}": tuple(
            device
            for container in pod.containers
            for devices in container.devices
            if devices.resource_name.startswith(_MAKERS) or devices.resource_name in intel_plugin.RESOURCES
            for device in devices.device_ids
        )
        for pod in answer.pod_resources
    }


def ask(path: Path) -> Allotted:
    """Ask the kubelet. KubeletSilentError: it does not answer, or with something else."""
    from grpclib.exceptions import GRPCError  # noqa: PLC0415  (only where there is a kubelet)

    try:
        return asyncio.run(_list(path))
    except TimeoutError as error:
        raise KubeletSilentError(f"{path}: no answer within {_TIMEOUT_S:g} s") from error
    except GRPCError as error:
        raise KubeletSilentError(f"{path}: {error.message or error.status.name}") from error
    except Exception as error:  # of a peer that is no gRPC server grpclib raises whatever comes
        raise KubeletSilentError(f"{path}: {error or type(error).__name__}") from error


class PodResources:
    """The kubelet's newest answer. A socket that is not there is looked for each 10 s, and nothing asked."""

    def __init__(self, socket: str, clock: Callable[[], int] = boot_us) -> None:
        """socket: its path; "": never asked."""
        self._path = Path(socket) if socket else None
        self._clock = clock
        self._slow: Slow[Allotted] | None = None
        self._look_us = 0

    def poll(self, now_us: int) -> None:
        """Take what came, and ask where that is due. To be called while there are pods and GPUs."""
        if self._path is None:
            return
        if self._slow is None:
            if now_us < self._look_us:
                return
            self._look_us = now_us + _PERIOD_US
            if not self._path.is_socket():
                return
            path = self._path
            self._slow = Slow(
                "workloads.podresources",
                lambda: ask(path),
                period_us=_PERIOD_US,
                timeout_us=int(4 * _TIMEOUT_S * 1e6),
                clock=self._clock,
            )
        self._slow.poll(now_us)

    def devices(self, pod: str) -> tuple[str, ...] | None:
        """Return the ids of a pod's devices; None where the kubelet has not told of the pod."""
        newest = self._slow.newest if self._slow is not None else None
        return newest.value.get(pod) if newest is not None else None

    def findings(self) -> tuple[Finding, ...]:
        """Say how the kubelet's socket stands, where there is one."""
        if self._slow is None:
            return ()
        trouble = self._slow.trouble(self._clock())
        name, fix = self._slow.name, self._slow.fix
        return (Finding(name, UNREADABLE, trouble, fix) if trouble else Finding(name, WORKING),)

    def close(self) -> None:
        """End the asking."""
        if self._slow is not None:
            self._slow.close()
