"""Jobs whose paths tell too little: LSF's arrays, HTCondor's slots, Slurm's SLUIDs; and odd paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.workloads.classify import RECOGNISERS, classify
from joulebook.agent.workloads.htcondor import parse_ad
from joulebook.agent.workloads.workload import Place, Workload
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import V2, FakeCgroups

SLUID = "/system.slice/slurmstepd.scope/s0CX2V1B9VVG00"
SLOT = "/system.slice/htcondor/condor_var_lib_condor_execute_slot1_1@n1"
LSF = "/lsf/cluster1/job.1234.77.1790000000"
AD = (
    b'MyType = "Job"\nClusterId = 31\nProcId = 4\nOwner = "ada"\nCmd = "/home/ada/bin/fit"\nRequestCpus = 3\n'
)


def put(fake: FakeCgroups, path: str, pid: int, environ: bytes, parent: str) -> None:
    """Put a process into a group, started by another one of a name."""
    for directory in fake.directories(path):
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "cgroup.procs").open("a") as procs:
            procs.write(f"{pid}\n")
    for number, name in ((pid, "python"), (pid + 1000, parent)):
        process = fake.roots.procfs / str(number)
        process.mkdir()
        (process / "status").write_text(f"Name:\t{name}\nUid:\t1000\t1000\t1000\t1000\n")
        fields = " ".join(["0"] * 40)
        (process / "stat").write_text(f"{number} ({name}) S {pid + 1000} {fields}\n")
    (fake.roots.procfs / str(pid) / "environ").write_bytes(environ)


def ids(workloads: Workloads) -> dict[str, Workload]:
    return {each.id: each for each in workloads.workloads if each.source in ("slurm", "lsf", "htcondor")}


def opened(tmp_path: Path, *paths: str) -> tuple[FakeCgroups, Workloads]:
    """Return a node where some groups were just made, nobody in them."""
    fake = FakeCgroups(tmp_path, V2)
    workloads = Workloads(fake.roots, lookup_user=lambda uid: {1000: "ada"}.get(uid, str(uid)))
    workloads.refresh(0)
    for path in paths:
        fake.make(path, cpu_us=5)
    workloads.refresh(1)
    return fake, workloads


def test_a_sluid_is_booked_until_a_task_tells_its_number(tmp_path: Path) -> None:
    """Only what slurmstepd started is believed: others may say anything."""
    fake, workloads = opened(tmp_path, SLUID)
    assert set(ids(workloads)) == {"slurm.s0CX2V1B9VVG00"}
    put(fake, f"{SLUID}/step_0/user/task_0", 70, b"SLURM_JOB_ID=41\0", "bash")
    assert not workloads.refresh(2)
    put(fake, f"{SLUID}/step_0/user/task_1", 71, b"SLURM_JOB_ID=x\0", "slurmstepd")
    put(fake, f"{SLUID}/step_0/user/task_2", 72, b"SLURM_JOB_ID=42\0SLURM_JOB_NAME=fit\0", "slurmstepd")
    assert workloads.refresh(3)
    assert set(ids(workloads)) == {"slurm.42"}
    assert (ids(workloads)["slurm.42"].name, ids(workloads)["slurm.42"].user) == ("fit", "ada")
    assert not workloads.refresh(4)
    fake.remove(SLUID)
    # It is there for the interval in which it ended.
    workloads.refresh(5)
    assert workloads.refresh(6)
    assert ids(workloads) == {}
    workloads.close()


def test_a_group_that_goes_while_it_is_looked_into_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever directory of a job is gone when it is listed, the tick goes on."""
    fake, workloads = opened(tmp_path, SLUID)
    put(fake, f"{SLUID}/step_0/user/task_0", 70, b"SLURM_JOB_ID=42\0", "slurmstepd")
    listed = os.scandir
    for gone in ("s0CX2V1B9VVG00", "step_0", "user", "task_0"):

        def scandir(path: str, gone: str = gone) -> Any:
            if str(path).endswith(gone):
                raise FileNotFoundError(2, "No such file or directory", path)
            return listed(path)

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", scandir)
            workloads.refresh(2)
    workloads.refresh(3)
    assert set(ids(workloads)) == {"slurm.42"}
    workloads.close()


def test_two_that_tell_one_number_stay_two(tmp_path: Path) -> None:
    """Two slurmd of a host run one job, or somebody lies: neither takes the other's account."""
    other = SLUID.replace("slurmstepd", "n2_slurmstepd")
    fake, workloads = opened(tmp_path, SLUID, other, "/system.slice/slurmstepd.scope/job_42")
    for pid, path in ((70, SLUID), (71, other)):
        put(fake, f"{path}/step_0/user/task_0", pid, b"SLURM_JOB_ID=42\0SLURM_JOB_NAME=x\0", "slurmstepd")
    workloads.refresh(2)
    assert set(ids(workloads)) == {"slurm.42", "slurm.42.2", "slurm.42.3"}
    workloads.close()


def test_a_slots_job_is_known_by_its_ad(tmp_path: Path) -> None:
    """Id, user, name and CPUs come of the ad that condor_starter named; the next job has its own account."""
    fake, workloads = opened(tmp_path, SLOT)
    assert set(ids(workloads)) == {"htcondor.slot1_1@n1"}
    ads = {70: (AD, "bash"), 71: (b"ProcId = 4\n", "condor_starter"), 72: (AD, "condor_starter")}
    for pid, (content, parent) in ads.items():
        put(fake, SLOT, pid, b"_CONDOR_JOB_AD=/scratch/.job.ad\0", parent)
        scratch = fake.roots.procfs / str(pid) / "root/scratch"
        scratch.mkdir(parents=True)
        (scratch / ".job.ad").write_bytes(content)
        changed = workloads.refresh(pid)
        assert changed == (pid == 72)
    job = ids(workloads)["htcondor.31.4"]
    assert (job.user, job.name, job.reserved_millicpus) == ("ada", "fit", 3000)
    fake.remove(SLOT)
    workloads.refresh(80)
    fake.make(SLOT)
    workloads.refresh(81)
    assert set(ids(workloads)) == {"htcondor.slot1_1@n1"}
    workloads.close()


@pytest.mark.parametrize("kind", ["pipe", "none", "directory", "relative", "zero"])
def test_an_ad_that_is_no_file_holds_nothing_up(tmp_path: Path, kind: str) -> None:
    """Whatever _CONDOR_JOB_AD names, the tick does not wait for it."""
    fake, workloads = opened(tmp_path, SLOT)
    name = {"relative": b"x", "zero": b"/" + b"a" * 65536}.get(kind, b"/ad")
    put(fake, SLOT, 70, b"_CONDOR_JOB_AD=" + name + b"\0", "condor_starter")
    place = fake.roots.procfs / "70" / "root" / "ad"
    place.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    assert not workloads.refresh(2)
    assert set(ids(workloads)) == {"htcondor.slot1_1@n1"}
    workloads.close()


def test_an_element_of_lsfs_array_has_its_index(tmp_path: Path) -> None:
    """Elements of which the path tells the array alone are apart once their tasks tell the index."""
    other = LSF.replace(".77.", ".78.")
    fake, workloads = opened(tmp_path, LSF)
    fake.make(other)
    workloads.refresh(1)
    assert set(ids(workloads)) == {"lsf.1234", "lsf.1234.2"}
    put(fake, LSF, 70, b"LSB_JOBID=1234\0LSB_JOBINDEX=3\0LSB_JOBNAME=fit[3]\0", "res")
    workloads.refresh(2)
    assert ids(workloads)["lsf.1234[3]"].name == "fit[3]"
    workloads.close()


def test_an_ad_is_lines_of_names_and_values() -> None:
    """What is written twice counts once, what is no whole number is none, and nothing else is taken."""
    assert parse_ad(AD + b"ClusterId = 99\n") == ("htcondor.31.4", "ada", "fit", 3)
    assert parse_ad(b'clusterid = 1\nPROCID = 0\nJobBatchName = "x"\n') == ("htcondor.1.0", "", "x", 0)
    assert parse_ad(b"ClusterId = 1 + 1\nProcId = 0\n") is None


@given(st.binary())
def test_any_ad_is_read(raw: bytes) -> None:
    """Whatever a file holds, it is an id or none."""
    found = parse_ad(raw) or parse_ad(AD + raw)
    assert found is not None
    assert found.id.startswith("htcondor.")


# What a directory may be called: any bytes but / and 0, here up to 64 KiB, and what looks like a job.
_NAMES = (
    "slurm", "slurm_n1", "uid_1000", "job_42", "job_042", "job_42\n", "s0CX2V1B9VVG00",
    "slurmstepd.scope", "pbs_jobs.service", "jobid", "123[7].server", "lsf", "job.1.2.3",
    "job.1[2].3", "htcondor", "condor_x_slot1@h", "condor_slot1\n", "user.slice",
    "user@1000.service", "imp-shell-0-f1.service", "docker", "default", "libpod_parent",
    "kubepods", "kubepods.slice", "system.slice", "machine.slice", "a" * 64, "٤٢", "job_٤٢",
    "joulebook-0123456789abcdef",
)  # fmt: skip
_LOOKS = st.sampled_from(_NAMES)
_ANY = st.binary(min_size=1, max_size=400).map(os.fsdecode) | st.text(min_size=1, max_size=20)
_LONG = st.sampled_from(["x", "é", "\n", "\udcff"]).map(lambda c: c * 65_536)
_KINDS = _LOOKS | _ANY | _LONG | st.tuples(_LOOKS, _ANY).map("".join)
_PARTS = _KINDS.map(lambda part: part.replace("/", "_"))


@given(st.lists(_PARTS, min_size=1, max_size=5), st.booleans())
def test_whatever_a_group_is_called_it_can_be_told(parts: list[str], configured: bool) -> None:
    """No name breaks a recogniser, and every workload can be told to a collector."""
    path = "/" + "/".join(parts)
    place = Place(path, str, (path,) if configured else ())
    for recognise in RECOGNISERS:
        recognise(place)
    workload = classify(place).workload
    if workload is not None:
        assert 1 <= len(workload.id) <= 255
        assert workload.id.isascii()
        assert workload.id.isprintable()
        for text in (workload.name, workload.user):
            assert text.isprintable()
            assert len(text) <= 255
            text.encode()


def test_long_names_that_begin_alike_stay_two() -> None:
    """A name that is cut is told apart by what was cut off."""
    ids = {classify(Place(f"/{'y' * 300}{end}")).workload for end in ("a", "b", "\n", "\udcff")}
    assert len({each.id for each in ids if each}) == 4
