"""Which workload each shape of cgroup path is."""

import pytest

from joulebook.agent.workloads.classify import classify
from joulebook.agent.workloads.systemd import unescape
from joulebook.agent.workloads.workload import AGENT, JOB, SYSTEM, Place

A = "3f2a" * 16
B = "b0" * 32
POD = "0a1b2c3d-1111-2222-3333-444455556666"
POD_SLICE = f"kubepods-burstable-pod{POD.replace('-', '_')}.slice"
RUN = "joulebook-0123456789abcdef"
NAMES = {1000: "ada", 0: "root"}


def place(path: str, *job_cgroups: str) -> Place:
    return Place(path, lambda uid: NAMES.get(uid, str(uid)), job_cgroups)


WORKLOADS = [
    # systemd
    ("/init.scope", "unit.init.scope", SYSTEM, "systemd", ""),
    ("/dev-hugepages.mount", "unit.dev-hugepages.mount", SYSTEM, "systemd", ""),
    ("/system.slice/sshd.service", "unit.sshd.service", SYSTEM, "systemd", ""),
    ("/system.slice/run-r12.scope", "unit.run-r12.scope", SYSTEM, "systemd", ""),
    ("/system.slice/docker.socket", "unit.docker.socket", SYSTEM, "systemd", ""),
    (
        "/system.slice/system-getty.slice/getty@tty1.service",
        "unit.getty@tty1.service",
        SYSTEM,
        "systemd",
        "",
    ),
    ("/user.slice/user-1000.slice", "user.ada", JOB, "systemd", "ada"),
    ("/user.slice/user-4242.slice", "user.4242", JOB, "systemd", "4242"),
    ("/machine.slice/machine-qemu\\x2d3\\x2dweb.scope", "machine.web", JOB, "systemd", ""),
    ("/machine.slice/machine-deb\\x2d12.scope", "machine.deb-12", JOB, "systemd", ""),
    ("/machine.slice/systemd-nspawn@build.service", "machine.build", JOB, "systemd", ""),
    # libvirt without systemd
    ("/machine/qemu-1-web.libvirt-qemu", "machine.web", JOB, "libvirt", ""),
    ("/machine/instance-000065d7.libvirt-qemu", "machine.instance-000065d7", JOB, "libvirt", ""),
    ("/machine/_qemu-4-_hidden.libvirt-qemu", "machine._hidden", JOB, "libvirt", ""),
    ("/machine/prod.partition/a.partition/lxc-7-box-1.libvirt-lxc", "machine.box-1", JOB, "libvirt", ""),
    ("/prod.partition/ch-2-web.libvirt-ch", "machine.web", JOB, "libvirt", ""),
    # PBS
    ("/pbs_jobs.service/jobid/123.server", "pbs.123", JOB, "pbs", ""),
    ("/pbs_jobs.service/jobid/123[7].server.site.edu", "pbs.123[7]", JOB, "pbs", ""),
    ("/pbs_jobs.service/jobs/123.server", "pbs.123", JOB, "pbs", ""),
    ("/system.slice/pbs_jobs.service/jobs/123", "pbs.123", JOB, "pbs", ""),
    # Flux
    (
        "/user.slice/user-765.slice/user@765.service/imp-shell-450-fPY66riwfnP.service",
        "flux.fPY66riwfnP",
        JOB,
        "flux",
        "",
    ),
    (
        "/user.slice/user-765.slice/user@765.service/app.slice/imp-shell-0-ƒBd6cBBSF.service",
        "flux.fBd6cBBSF",
        JOB,
        "flux",
        "",
    ),
    # Docker
    (f"/docker/{A}", "docker.3f2a3f2a3f2a", JOB, "docker", ""),
    (f"/system.slice/docker-{A}.scope", "docker.3f2a3f2a3f2a", JOB, "docker", ""),
    (
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope",
        "docker.3f2a3f2a3f2a",
        JOB,
        "docker",
        "",
    ),
    # Podman
    (f"/machine.slice/libpod-{A}.scope", "podman.3f2a3f2a3f2a", JOB, "podman", ""),
    (f"/libpod_parent/libpod-{A}", "podman.3f2a3f2a3f2a", JOB, "podman", ""),
    (f"/libpod_parent/{B}/libpod-{A}", "podman.3f2a3f2a3f2a", JOB, "podman", ""),
    (
        f"/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope",
        "podman.3f2a3f2a3f2a",
        JOB,
        "podman",
        "",
    ),
    (
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope",
        "podman.3f2a3f2a3f2a",
        JOB,
        "podman",
        "",
    ),
    (f"/machine.slice/libpod-conmon-{A}.scope", f"unit.libpod-conmon-{A}.scope", SYSTEM, "podman", ""),
    ("/libpod_parent/conmon", "unit.conmon", SYSTEM, "podman", ""),
    # containerd
    (f"/default/{A}", "containerd.3f2a3f2a3f2a", JOB, "containerd", ""),
    ("/default/redis", "containerd.redis", JOB, "containerd", ""),
    (f"/k8s.io/{A}", "containerd.3f2a3f2a3f2a", JOB, "containerd", ""),
    (f"/system.slice/cri-containerd-{A}.scope", "containerd.3f2a3f2a3f2a", JOB, "containerd", ""),
    (f"/system.slice:cri-containerd:{A}", "containerd.3f2a3f2a3f2a", JOB, "containerd", ""),
    (f"/user.slice/nerdctl-{A}.scope", "containerd.3f2a3f2a3f2a", JOB, "containerd", ""),
    # CRI-O
    (f"/system.slice/crio-{A}.scope", "crio.3f2a3f2a3f2a", JOB, "crio", ""),
    (f"/kubepods/burstable/pod-odd/crio-{A}", "crio.3f2a3f2a3f2a", JOB, "crio", ""),
    (f"/system.slice/crio-conmon-{A}.scope", f"unit.crio-conmon-{A}.scope", SYSTEM, "crio", ""),
    # Kubernetes
    (f"/kubepods/burstable/pod{POD}", f"k8s.{POD}", JOB, "kubernetes", ""),
    (f"/kubepods/pod{POD}", f"k8s.{POD}", JOB, "kubernetes", ""),
    (f"/kubepods.slice/kubepods-burstable.slice/{POD_SLICE}", f"k8s.{POD}", JOB, "kubernetes", ""),
    (f"/kubepods.slice/{POD_SLICE.replace('-burstable', '')}", f"k8s.{POD}", JOB, "kubernetes", ""),
    (
        f"/kubelet.slice/kubelet-kubepods.slice/kubelet-{POD_SLICE}",
        f"k8s.{POD}",
        JOB,
        "kubernetes",
        "",
    ),
    # A pod that the kubelet read from a file has a hash for its UID.
    (f"/kubepods/pod{B[:32]}", f"k8s.{B[:32]}", JOB, "kubernetes", ""),
    (f"/kubepods/burstable/pod-odd/{A}", "containerd.3f2a3f2a3f2a", JOB, "containerd", ""),
    # Slurm
    ("/slurm/uid_1000/job_42", "slurm.42", JOB, "slurm", "ada"),
    ("/slurm_node7/uid_4242/job_42", "slurm.42", JOB, "slurm", "4242"),
    ("/system.slice/slurmstepd.scope/job_42", "slurm.42", JOB, "slurm", ""),
    ("/system.slice/node7_slurmstepd.scope/job_42", "slurm.42", JOB, "slurm", ""),
    ("/hpc.slice/slurmstepd.scope/job_42", "slurm.42", JOB, "slurm", ""),
    ("/slurm/uid_1000/s0CX2V1B9VVG00", "slurm.s0CX2V1B9VVG00", JOB, "slurm", "ada"),
    ("/system.slice/slurmstepd.scope/s0CX2V1B9VVG00", "slurm.s0CX2V1B9VVG00", JOB, "slurm", ""),
    # LSF
    ("/lsf/cluster1/job.1234.28741.1790000000", "lsf.1234", JOB, "lsf", ""),
    ("/lsf/cluster1/job.1234[7].28741.1790000000", "lsf.1234[7]", JOB, "lsf", ""),
    ("/system.slice/lsf/cluster1/job.1234", "lsf.1234", JOB, "lsf", ""),
    # HTCondor
    ("/htcondor/condor_var_lib_condor_execute_slot1", "htcondor.slot1", JOB, "htcondor", ""),
    (
        "/system.slice/htcondor/condor_var_lib_condor_execute_slot1_23@n1.site.edu",
        "htcondor.slot1_23@n1.site.edu",
        JOB,
        "htcondor",
        "",
    ),
    ("/system.slice/slurmd.service", "unit.slurmd.service", SYSTEM, "systemd", ""),
    # anything else at the top
    ("/batch", "cgroup.batch", JOB, "cgroup", ""),
    ("/lxc.payload.web", "cgroup.lxc.payload.web", JOB, "cgroup", ""),
    (f"/{A}", f"cgroup.{A}", JOB, "cgroup", ""),
]


@pytest.mark.parametrize(
    ("path", "workload_id", "kind", "source", "user"), WORKLOADS, ids=[case[0] for case in WORKLOADS]
)
def test_path_is_a_workload(path: str, workload_id: str, kind: int, source: str, user: str) -> None:
    """Each path that an engine or systemd makes is the workload that it should be."""
    workload = classify(place(path)).workload
    assert workload is not None
    assert (workload.id, workload.kind, workload.source, workload.user) == (workload_id, kind, source, user)


LED_INTO = [
    ("/system.slice", True),
    ("/user.slice", True),
    ("/machine.slice", True),
    ("/hpc.slice", True),
    ("/system.slice/system-getty.slice", True),
    ("/user.slice/user-1000.slice/user@1000.service", True),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice", True),
    ("/user.slice/user-1000.slice/session-3.scope", False),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", False),
    ("/docker", True),
    ("/docker/buildkit", False),
    ("/default", True),
    ("/libpod_parent", True),
    (f"/libpod_parent/{B}", True),
    ("/kubepods", True),
    ("/kubepods/burstable", True),
    ("/kubepods/burstable/pod-odd", True),
    (f"/kubepods/burstable/pod{POD}/{A}", False),
    (f"/kubepods.slice/kubepods-burstable.slice/{POD_SLICE}/cri-containerd-{A}.scope", False),
    ("/system.slice/sshd.service/inner", False),
    ("/machine", True),
    ("/machine/prod.partition", True),
    ("/prod.partition", True),
    ("/machine/qemu-1-web.libvirt-qemu/vcpu0", False),
    ("/machine/qemu-1-web.libvirt-qemu/libvirt/emulator", False),
    ("/machine/other", False),
    ("/batch/inner", False),
    ("/slurm", True),
    ("/slurm_node7", True),
    ("/slurm_node7/system", False),
    ("/slurm/uid_1000", True),
    ("/slurm/uid_1000/job_42/step_batch", False),
    ("/slurm/uid_1000/job_x", False),
    ("/system.slice/slurmstepd.scope", True),
    ("/system.slice/node7_slurmstepd.scope", True),
    ("/system.slice/slurmstepd.scope/system", False),
    ("/system.slice/slurmstepd.scope/job_42/step_0", False),
    ("/slurm/uid_1000/s0CX2V1B9VVGIL", False),
    ("/slurm/uid_1000/s0CX2V1B9VVG00x", False),
    ("/lsf", True),
    ("/lsf/cluster1", True),
    ("/lsf/cluster1/job.1234.28741.1790000000/inner", False),
    ("/lsf/cluster1/job.x", False),
    ("/htcondor", True),
    ("/system.slice/htcondor", True),
    ("/htcondor/condor_slot1/inner", False),
    ("/htcondor/other", False),
    ("/pbs_jobs.service", True),
    ("/pbs_jobs.service/jobid", True),
    ("/pbs_jobs.service/jobs", True),
    ("/pbs_jobs.service/jobs/123.server/inner", False),
    ("/pbs_jobs.service/jobs/mom", False),
    ("/pbs_jobs.service/other", False),
    ("/user.slice/user-765.slice/user@765.service/imp-shell-0-f1.service/inner", False),
    ("/user.slice/user-765.slice/imp-shell-0-f1.service", False),
    (f"/{RUN}", False),
    (f"/system.slice/sshd.service/{RUN}", False),
]


@pytest.mark.parametrize(("path", "descend"), LED_INTO, ids=[case[0] for case in LED_INTO])
def test_path_is_no_workload(path: str, descend: bool) -> None:
    """What only holds workloads is looked into; parts of workloads, and runs, are left alone."""
    verdict = classify(place(path))
    assert verdict.workload is None
    assert verdict.descend is descend


def test_users_are_looked_into_for_containers() -> None:
    """A user's slice is a workload and may hold others."""
    assert classify(place("/user.slice/user-1000.slice")).descend


@pytest.mark.parametrize(
    ("path", "workload_id", "descend"),
    [
        ("/batch", None, True),
        ("/batch/one", "cgroup.batch.one", False),
        ("/batch/one/two", None, False),
        ("/system.slice/spool.service", "unit.spool.service", True),
        ("/system.slice/spool.service/job-7", "cgroup.system.slice.spool.service.job-7", False),
        ("/system.slice/spool.service/other", None, False),
    ],
)
def test_configured_cgroups_are_jobs(path: str, workload_id: str | None, descend: bool) -> None:
    """Globs make cgroups jobs at any depth; what leads there is looked into and stays what it is."""
    verdict = classify(place(path, "/batch/*", "/system.slice/spool.service/job-*"))
    assert (verdict.workload.id if verdict.workload else None) == workload_id
    assert verdict.descend is descend


def test_names_are_unescaped() -> None:
    """systemd's escapes become the characters they stand for, UTF-8 included."""
    assert unescape(r"qemu\x2d1\x2dk\xc3\xa4fer") == "qemu-1-käfer"


def test_no_cgroup_is_the_agent() -> None:
    """The agent's kind is given to itself alone, never by a path."""
    assert all(case[2] != AGENT for case in WORKLOADS)
