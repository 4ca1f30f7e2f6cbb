"""A pod on a node, from its cgroup to `joulebook job`: named by the node, and told of by the API server."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.cgroups.fake import V2, FakeCgroups
from tests.servers.kubernetes import ApiServer, api_server
from tests.servers.pods import UID, ended, pod
from tests.system.site import Site

_POD = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice"
_JOB = "jobs/k8s.prod/train-x7k2p"
_SECTION = "JOULEBOOK__COLLECTOR__KUBERNETES__"


@dataclass
class Cluster:
    """A node with a pod and a collector, and an API server that is away at first."""

    site: Site
    server: ApiServer
    cgroups: FakeCgroups


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The pod runs; its kubelet has made its directory of logs."""
    cgroups = FakeCgroups(tmp_path, V2)
    cgroups.make(_POD, cpu_us=1)
    cgroups.make(f"{_POD}/cri-containerd-{'d' * 64}.scope", cpu_us=1)
    (tmp_path / "pods" / f"prod_train-x7k2p_{UID}").mkdir(parents=True)
    with api_server(tmp_path) as server:
        server.put(pod())
        server.fault = lambda _: (503, b"apiserver not ready")
        environment = {
            "JOULEBOOK__AGENT__CGROUPFS": str(cgroups.roots.cgroupfs),
            "JOULEBOOK__AGENT__WORKLOADS__POD_LOGS": f"{tmp_path}/pods",
            f"{_SECTION}PERIOD_S": "1",
            f"{_SECTION}SERVER": server.url,
            f"{_SECTION}TOKEN": str(server.token),
            f"{_SECTION}CA": str(server.ca),
            f"{_SECTION}USER_LABEL": "example.org/asked-by",
        }
        site = Site(tmp_path, environment=environment)
        site.start("collector")
        site.counter.start()
        site.start("agent")
        yield Cluster(site, server, cgroups)
        for program in ("agent", "collector"):
            site.end(program, signal.SIGTERM)
        site.counter.stop()


def test_a_pod_from_its_group_to_its_page(cluster: Cluster) -> None:
    """Booked while the API server is away, by the name that the node knows; told of later, to its end."""
    site = cluster.site
    site.until(lambda answer: bool(answer["jobs"]), "jobs?name=prod/train-x7k2p")
    for cpu_us in (100_000, 200_000):
        cluster.cgroups.show(_POD, cpu_us)
        before = site.ask(_JOB)["energy_uj"]
        site.until(lambda job, before=before: job["energy_uj"] > before, _JOB)  # type: ignore[misc]
    job = site.ask(_JOB)
    assert (job["job"], job["name"], job["account"], job["scheduler"]) == (
        f"k8s.{UID}", "prod/train-x7k2p", None, None,
    )  # fmt: skip

    cluster.server.fault = lambda _: None
    job = site.until(lambda job: job["scheduler"] is not None, _JOB)
    told = job["scheduler"]
    assert (job["user"], job["account"], job["state"]) == ("ada@example.org", "prod", "running")
    assert (told["owner"], told["partition"], told["state"]) == ("Job/train", "gpus", "Running")
    assert (told["cpus"], told["gpus"], told["memory_bytes"]) == (4, 2, 1 << 30)

    failed = [ended(137, reason="OOMKilled")]
    cluster.server.put(pod(phase="Failed", containerStatuses=failed))
    cluster.server.delete(UID)
    for directory in cluster.cgroups.directories(_POD):
        shutil.rmtree(directory)
    job = site.until(lambda job: job["state"] == "ended" and job["scheduler"]["end"] is not None, _JOB)
    assert (job["exit_status"], job["scheduler"]["state"]) == (137, "Failed (OOMKilled)")
    assert site.ask("ledger?from=-1h")["residual_uj"] == 0
    assert site.shown("job", "k8s.prod/train-x7k2p").startswith(
        f"k8s.{UID}  prod/train-x7k2p  on here: ended, Failed (OOMKilled) with 137, provisional\n"
        "user ada@example.org, account prod, partition gpus, owner Job/train, 1 node, 4 CPUs, 2 GPUs, "
        "1.0 GiB, submit 2026-11-30T10:00:00Z, start 2026-11-30T10:00:01Z, end 2026-11-30T11:00:00Z"
    )
    assert "Failed (OOMKilled)" in site.shown("jobs", "--wide")
