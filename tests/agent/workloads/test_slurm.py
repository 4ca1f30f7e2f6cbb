"""What Slurm jobs tell of themselves: in made-up trees, and nothing that they want to keep."""

from pathlib import Path

import pytest

from joulebook.agent.workloads.job_facts import (
    parse_cpu_list,
    parse_environ,
    parse_limit_bytes,
    parse_status,
)
from joulebook.agent.workloads.workload import Workload
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import V2, FakeCgroups, build

V1_JOB = "/slurm_node1/uid_1000/job_42"
V2_JOB = "/system.slice/slurmstepd.scope/job_42"


def put(
    fake: FakeCgroups, path: str, pid: int, environ: str, uid: int = 1000, command: str = "python"
) -> None:
    """Put a process into a group, as /proc and the group's list of processes show it."""
    for directory in fake.directories(path):
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "cgroup.procs").open("a") as procs:
            procs.write(f"{pid}\n")
    process = fake.roots.procfs / str(pid)
    process.mkdir()
    (process / "status").write_text(f"Name:\t{command}\nUmask:\t0022\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    (process / "environ").write_bytes(environ.replace(" ", "\0").encode())


def jobs(workloads: Workloads) -> dict[str, Workload]:
    return {each.id: each for each in workloads.workloads if each.source == "slurm"}


def opened(fake: FakeCgroups) -> Workloads:
    return Workloads(fake.roots, lookup_user=lambda uid: {1000: "ada", 1001: "bob"}.get(uid, str(uid)))


def test_v1_job_has_user_name_and_reservation(tmp_path: Path) -> None:
    """On v1 the user is the path's, the name a task's, CPUs and memory the kernel's limits."""
    fake = build("v1-slurm", tmp_path)
    cpuset = fake.roots.cgroupfs / "cpuset" / V1_JOB.lstrip("/")
    cpuset.mkdir(parents=True)
    (cpuset / "cpuset.cpus").write_text("0-2,8\n")
    memory = fake.roots.cgroupfs / "memory" / V1_JOB.lstrip("/")
    (memory / "memory.limit_in_bytes").write_text("524288000\n")
    put(fake, f"{V1_JOB}/step_0/task_0", 70, "SLURM_JOB_ID=42 SLURM_JOB_NAME=train SLURM_CPUS_ON_NODE=2")
    workloads = opened(fake)
    workloads.refresh(0)
    job = jobs(workloads)["slurm.42"]
    assert (job.user, job.name) == ("ada", "train")
    assert (job.reserved_millicpus, job.reserved_memory_bytes) == (4000, 524288000)
    assert jobs(workloads)["slurm.43"].user == "4242"
    workloads.close()


def test_v2_job_has_user_and_name_of_a_task(tmp_path: Path) -> None:
    """On v2 a task tells name, user and CPUs; slurmd's helper and the extern step's sleep do not."""
    fake = build("v2-slurm", tmp_path)
    told = "SLURM_JOB_ID=42 SLURM_JOB_NAME=sort SLURM_CPUS_ON_NODE=3"
    put(fake, f"{V2_JOB}/step_extern/user/task_special", 70, "SLURM_JOB_ID=42 SLURM_JOB_NAME=x", 0, "sleep")
    put(fake, f"{V2_JOB}/step_batch/slurm", 71, told, 0, "slurmstepd")
    put(fake, f"{V2_JOB}/step_batch/user/task_0", 72, told, 1001, "bash")
    (fake.roots.cgroupfs / V2_JOB.lstrip("/") / "memory.max").write_text("max\n")
    (fake.roots.cgroupfs / V2_JOB.lstrip("/") / "cpuset.cpus").write_text("\n")
    workloads = opened(fake)
    workloads.refresh(0)
    job = jobs(workloads)["slurm.42"]
    assert (job.user, job.name) == ("bob", "sort")
    assert (job.reserved_millicpus, job.reserved_memory_bytes) == (3000, 0)
    workloads.close()


def test_batch_step_tells_before_others(tmp_path: Path) -> None:
    """A step may have fewer CPUs than its job has on the node: the batch script knows them all."""
    fake = build("v2-slurm", tmp_path)
    put(fake, f"{V2_JOB}/step_0/user/task_0", 70, "SLURM_JOB_ID=42 SLURM_JOB_NAME=a SLURM_CPUS_ON_NODE=1")
    put(fake, f"{V2_JOB}/step_batch/user/task_0", 71, "SLURM_JOB_ID=42 SLURM_JOB_NAME=a SLURM_CPUS_ON_NODE=8")
    workloads = opened(fake)
    workloads.refresh(0)
    assert jobs(workloads)["slurm.42"].reserved_millicpus == 8000
    workloads.close()


def test_job_without_a_process_is_asked_again(tmp_path: Path) -> None:
    """A job is counted from its making; its name follows with its first task, and changes the layout once."""
    fake = FakeCgroups(tmp_path, V2)
    workloads = opened(fake)
    workloads.refresh(0)
    fake.make(V2_JOB, cpu_us=5)
    assert workloads.refresh(1)
    assert (jobs(workloads)["slurm.42"].name, jobs(workloads)["slurm.42"].user) == ("", "")
    put(fake, f"{V2_JOB}/step_0/user/task_0", 70, "SLURM_JOB_ID=42 SLURM_JOB_NAME=late")
    assert workloads.refresh(2)
    assert (jobs(workloads)["slurm.42"].name, jobs(workloads)["slurm.42"].user) == ("late", "ada")
    assert not workloads.refresh(3)
    workloads.close()


def test_job_that_never_tells_is_let_be(tmp_path: Path) -> None:
    """A job without a task is asked for a minute, and stays what its path says."""
    fake = build("v1-slurm", tmp_path)
    workloads = opened(fake)
    workloads.refresh(0)
    for tick in range(60):
        assert not workloads.refresh(tick)
    put(fake, f"{V1_JOB}/step_0/task_0", 70, "SLURM_JOB_ID=42 SLURM_JOB_NAME=train")
    assert not workloads.refresh(61)
    workloads.close()


def test_another_jobs_environment_is_not_believed(tmp_path: Path) -> None:
    """A process that carries another job's id tells nothing of this one."""
    fake = build("v1-slurm", tmp_path)
    put(fake, f"{V1_JOB}/step_0/task_0", 70, "SLURM_JOB_ID=41 SLURM_JOB_NAME=other")
    workloads = opened(fake)
    workloads.refresh(0)
    assert jobs(workloads)["slurm.42"].name == ""
    workloads.close()


def test_a_part_of_a_heterogeneous_job_is_known_by_its_own_number(tmp_path: Path) -> None:
    """Tasks of all parts have the first one's number for theirs, and are told the number and name of each."""
    fake = build("v2-slurm", tmp_path)
    parts = "SLURM_JOB_ID_HET_GROUP_0=41 SLURM_JOB_NAME_HET_GROUP_0=a SLURM_JOB_ID_HET_GROUP_1=42"
    told = f"SLURM_JOB_ID=41 SLURM_JOB_NAME=a {parts} SLURM_JOB_NAME_HET_GROUP_1=b SLURM_CPUS_ON_NODE=3"
    put(fake, f"{V2_JOB}/step_0/user/task_0", 70, told, 1001, "python")
    workloads = opened(fake)
    workloads.refresh(0)
    job = jobs(workloads)["slurm.42"]
    assert (job.user, job.name, job.reserved_millicpus) == ("bob", "b", 3000)
    workloads.close()


def test_environment_is_read_for_named_variables_only() -> None:
    """Of an environment these variables are taken; secrets in it go nowhere."""
    raw = b"AWS_SECRET=x\0SLURM_JOB_NAME=a=b \xff\0SLURM_JOB_ID=7\0SLURM_JWT=y\0broken\0"
    parts = b"SLURM_JOB_ID_HET_GROUP_1=8\0SLURM_JOB_ID_HET_GROUP_x=9\0SLURM_JOB_USER_HET_GROUP_0=z\0"
    assert parse_environ(raw + parts) == {
        "SLURM_JOB_NAME": "a=b \ufffd",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_ID_HET_GROUP_1": "8",
    }


@pytest.mark.parametrize(("raw", "cpus"), [(b"0-3,8\n", 5), (b"7\n", 1), (b"\n", 0), (b"0,2,4-5\n", 4)])
def test_cpu_lists_are_counted(raw: bytes, cpus: int) -> None:
    """A list of CPUs is as many as it names."""
    assert parse_cpu_list(raw) == cpus


@pytest.mark.parametrize(
    ("raw", "limit"), [(b"max\n", 0), (b"9223372036854771712\n", 0), (b"524288000\n", 524288000)]
)
def test_no_limit_is_no_reservation(raw: bytes, limit: int) -> None:
    """Both versions' ways to say that there is no limit reserve nothing."""
    assert parse_limit_bytes(raw) == limit


def test_status_without_its_lines_is_refused() -> None:
    """A status of another shape is an error that names what is missing."""
    with pytest.raises(ValueError, match="Uid"):
        parse_status(b"Name:\tx\n")
