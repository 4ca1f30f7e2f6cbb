"""A gRPC server that speaks the kubelet's podresources API on a Unix socket, as it was published."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

_PROTO = "tests/fixtures/kubelet/podresources_v1.proto"


class Kubelet:
    """What the kubelet has allotted; it may refuse, or hang until it is let go."""

    def __init__(self, messages: Any) -> None:
        self._messages = messages
        # (name space, pod) → resource → the ids of devices.
        self.pods: dict[tuple[str, str], dict[str, list[str]]] = {}
        self.refuses = False
        self.asked = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def List(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802  (gRPC's)
        """Answer as the kubelet does: pods by name, with everything that containers were given."""
        self.asked += 1
        self.go_on.wait()
        if self.refuses:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")
        messages = self._messages
        answer = messages.ListPodResourcesResponse()
        for (namespace, name), resources in self.pods.items():
            container = messages.ContainerResources(name="main", cpu_ids=[0, 1])
            container.memory.add(memory_type="memory", size=1 << 30).topology.nodes.add(ID=0)
            container.dynamic_resources.add(claim_name="c", claim_namespace=namespace)
            for resource, ids in resources.items():
                device = container.devices.add(resource_name=resource, device_ids=ids)
                device.topology.nodes.add(ID=0)
            pod = answer.pod_resources.add(name=name, namespace=namespace)
            pod.containers.add(name="sidecar")
            pod.containers.append(container)
        return answer


@contextmanager
def kubelet(socket: Path) -> Iterator[Kubelet]:
    """Serve at a socket until the block ends."""
    messages, services = grpc.protos_and_services(_PROTO)
    server = grpc.server(ThreadPoolExecutor(2))
    serving = Kubelet(messages)
    services.add_PodResourcesListerServicer_to_server(serving, server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        yield serving
    finally:
        serving.go_on.set()
        server.stop(None).wait()
