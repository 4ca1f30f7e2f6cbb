"""What jobs of other schedulers than Slurm tell of themselves."""

import threading
from pathlib import Path

import pytest

from joulebook.agent.workloads.job_facts import JobFacts
from joulebook.agent.workloads.workload import Workload
from joulebook.agent.workloads.workloads import Workloads
from tests.agent.workloads.test_slurm import V2_JOB, opened, put
from tests.fixtures.cgroups.fake import FakeCgroups, build

_PBS = "/pbs_jobs.service/jobs/77[3].head.site"
_FLUX = "/user.slice/user-765.slice/user@765.service/imp-shell-4-fPY66riwfnP.service"


def _job(fake: FakeCgroups, source: str) -> Workload:
    workloads: Workloads = opened(fake)
    workloads.refresh(0)
    workloads.refresh(1_000_000)
    (found,) = (each for each in workloads.workloads if each.source == source)
    workloads.close()
    return found


def test_pbs_job_has_name_user_and_cpus(tmp_path: Path) -> None:
    """A task of a PBS job tells whose it is, what it is called and how many CPUs it has here."""
    fake = build("v2-slurm", tmp_path)
    fake.make(_PBS)
    put(fake, _PBS, 81, "PBS_JOBID=77[3].head.site PBS_JOBNAME=fold NCPUS=6")
    job = _job(fake, "pbs")
    assert (job.id, job.name, job.user, job.reserved_millicpus) == ("pbs.77[3]", "fold", "ada", 6000)


def test_flux_job_has_the_tasks_user(tmp_path: Path) -> None:
    """A Flux job is its task's user's, not of the helper that runs as root; ids are written in two ways."""
    fake = build("v2-slurm", tmp_path)
    fake.make(_FLUX)
    put(fake, _FLUX, 81, "FLUX_JOB_ID=ƒPY66riwfnP", 0, "flux-imp")
    put(fake, _FLUX, 82, "FLUX_JOB_ID=ƒPY66riwfnP", 1001, "flux-shell")
    job = _job(fake, "flux")
    assert (job.id, job.user) == ("flux.fPY66riwfnP", "bob")


@pytest.mark.parametrize(
    ("path", "job", "name", "id_"),
    [
        (_PBS, "PBS_JOBID=77[3].head.site", "PBS_JOBNAME", "pbs.77[3]"),
        (V2_JOB, "SLURM_JOB_ID=42", "SLURM_JOB_NAME", "slurm.42"),
    ],
)
def test_a_name_may_be_anything(path: str, job: str, name: str, id_: str, tmp_path: Path) -> None:
    """64 KiB of what is no UTF-8 and cannot be printed are a name all the same, of 255 characters."""
    fake = build("v2-slurm", tmp_path)
    fake.make(path)
    put(fake, f"{path}/step_batch", 81, "")
    wild = name.encode() + b"=a\xff\n" + b"\xc3" * 65_536
    (fake.roots.procfs / "81/environ").write_bytes(b"\0".join((b"=\xff", wild, job.encode(), b"")))
    workloads = opened(fake)
    workloads.refresh(0)
    (found,) = (each for each in workloads.workloads if each.id == id_)
    workloads.close()
    assert found.name == ("a\ufffd\\x0a" + "\ufffd" * 255)[:255]


@pytest.mark.parametrize(("path", "source"), [(_PBS, "pbs"), (_FLUX, "flux")])
def test_a_task_of_another_job_is_not_believed(path: str, source: str, tmp_path: Path) -> None:
    """Who came into the group from elsewhere names another job, and tells nothing of this one."""
    fake = build("v2-slurm", tmp_path)
    fake.make(path)
    put(fake, path, 81, "PBS_JOBID=78.head.site PBS_JOBNAME=other FLUX_JOB_ID=fother SLURM_JOB_ID=42")
    job = _job(fake, source)
    assert (job.name, job.user) == ("", "")


def test_a_job_that_ends_while_it_is_asked_tells_nothing(tmp_path: Path) -> None:
    """Whatever moment of a look at its tasks a job's group goes at, the agent goes on."""
    fake = build("v2-slurm", tmp_path)
    fake.make(_PBS)
    put(fake, _PBS, 81, "PBS_JOBID=77[3].head.site")
    workloads: Workloads = opened(fake)
    facts = workloads._cgroups._facts["pbs"]
    assert isinstance(facts, JobFacts)
    (group,) = (path for root in facts._trees if (path := root / _PBS.lstrip("/")).is_dir())
    over = threading.Event()

    def come_and_go() -> None:
        away = group.with_name("away")
        while not over.is_set():
            group.rename(away)
            away.rename(group)

    coming = threading.Thread(target=come_and_go)
    coming.start()
    try:
        told = {tuple(facts._pids(_PBS)) for _ in range(5000)}
    finally:
        over.set()
        coming.join()
    workloads.close()
    assert told <= {(), (81,)}
