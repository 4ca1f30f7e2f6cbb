"""A real Slurm: its jobs get their own accounts, and the books balance."""

import shutil
import signal
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from joulebook.agent.source import Roots
from joulebook.agent.workloads.workloads import Workloads
from tests.system.servers.slurm.server import Slurm
from tests.system.site import Site

MEMORY_BYTES = 100 << 20


def test_jobs_that_share_a_node_have_their_own_accounts(slurm: Slurm, site: Site) -> None:
    """One job burns CPU in a step, one sleeps: each is booked apart, by user and name, to the microjoule."""
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    site.counter.start()
    memory = f"--mem={MEMORY_BYTES >> 20}M"
    burning = slurm.submit("srun stress-ng --cpu 1 --timeout 3600s --quiet", "--job-name=burn it", memory)
    sleeping = slurm.submit("exec sleep 3600", "--job-name=sleep", "--uid=nobody", memory)
    ids = [f"slurm.{burning}", f"slurm.{sleeping}"]

    def named(answer: Any) -> bool:
        return {(job["job"], job["user"], job["name"]) for job in answer["jobs"]} >= {
            (ids[0], "root", "burn it"),
            (ids[1], "nobody", "sleep"),
        }

    site.until(named, "jobs?state=running")
    here = Workloads(Roots())
    here.refresh(0)
    found = {each.id: each for each in here.workloads if each.id.startswith(tuple(ids))}
    here.close()
    assert set(found) == set(ids), "steps are no accounts of their own"
    for each in found.values():
        assert (each.reserved_millicpus, each.reserved_memory_bytes) == (1000, MEMORY_BYTES)

    # Long enough that who computed and who rested shows.
    goal_uj = site.counter.delivered_uj + 10_000_000
    site.until(lambda ledger: sum(a["by_domain"]["cpu"] for a in ledger["accounts"]) > goal_uj)
    assert {"burn", "it", "root", "running", "here"} < set(site.line_of(ids[0]))
    assert {"sleep", "nobody", "running", "here"} < set(site.line_of(ids[1]))
    slurm.cancel(*ids)
    jobs = site.until(lambda answer: {job["job"] for job in answer["jobs"]} >= set(ids), "jobs?state=ended")
    site.counter.stop()
    delivered_uj = site.counter.delivered_uj
    site.until(
        lambda ledger: sum(a["by_domain"]["cpu"] for a in ledger["accounts"]) == delivered_uj,
    )
    assert site.end("agent", signal.SIGTERM) == 0
    ledger = site.ask("ledger?from=-1h")
    accounts = {account["account"]: account for account in ledger["accounts"]}
    assert {name for name in accounts if name.startswith(tuple(f"job:{each}" for each in ids))} == {
        f"job:{each}" for each in ids
    }
    burnt, slept = (accounts[f"job:{each}"] for each in ids)
    assert burnt["active_uj"] > 2 * slept["active_uj"]
    assert ledger["residual_uj"] == 0
    assert sum(account["by_domain"]["cpu"] for account in accounts.values()) == site.counter.delivered_uj
    assert {job["source"] for job in jobs["jobs"] if job["job"] in ids} == {"slurm"}


@pytest.fixture
def asking(tmp_path: Path, slurm: Slurm) -> Iterator[Site]:
    """A collector that takes what hooks tell, and asks by a squeue that is not there yet; an agent."""
    (tmp_path / "token").write_text("a-long-token\n")
    made = Site(
        tmp_path,
        environment={
            "JOULEBOOK__COLLECTOR__JOBS_TOKEN": str(tmp_path / "token"),
            "JOULEBOOK__COLLECTOR__SLURM__PERIOD_S": "1",
            "JOULEBOOK__COLLECTOR__SLURM__SQUEUE": str(tmp_path / "squeue"),
            "JOULEBOOK__COLLECTOR__SLURM__SLURM_CONF": str(slurm.configuration),
        },
    )
    made.start("collector")
    made.start("agent")
    yield made
    for program in list(made.running):
        made.end(program, signal.SIGKILL)
    made.counter.close()


def unix_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def check_edges(job: Any, notes: Path) -> None:
    """Hold what was seen of a job and what Slurm told against what it wrote down itself."""
    told, number = job["scheduler"], job["job"].removeprefix("slurm.")
    began_s, ended_s = map(float, (notes / number).read_text().split())
    assert (told["partition"], told["cpus"], told["gpus"]) == ("main", 1, 0)
    assert (told["node_count"], told["memory_bytes"]) == (1, MEMORY_BYTES)
    # Slurm's times are whole seconds.
    assert unix_s(told["submit"]) <= unix_s(told["start"]) <= unix_s(told["end"])
    assert unix_s(told["start"]) <= began_s <= ended_s <= unix_s(job["end"])
    assert unix_s(told["start"]) <= unix_s(job["start"]) <= unix_s(job["end"])


def test_what_slurm_knows_of_its_jobs_comes_to_the_books(asking: Site, slurm: Slurm, tmp_path: Path) -> None:
    """An array, a short job and one that fails are booked while Slurm is silent, and named when it speaks."""
    site = asking
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    site.counter.start()
    note = f"{slurm.notes}/$SLURM_JOB_ID"
    script = f"date +%s.%N >{note}; WORK; status=$?; date +%s.%N >>{note}; exit $status"
    common = ("--account=chem", f"--mem={MEMORY_BYTES >> 20}M")
    array = slurm.submit(
        script.replace("WORK", "sleep 1"), "--array=3,7", "--job-name=many", "--uid=nobody", *common
    )
    fails = slurm.submit(script.replace("WORK", "(sleep 0.3; exit 3)"), "--job-name=fails", *common)
    short = slurm.submit(script.replace("WORK", "sleep 0.3"), "--job-name=a\nb", "--time=5", *common)

    def own(answer: Any) -> list[Any]:
        # Other clusters of this machine may have jobs too.
        numbers = {job["job"].removeprefix("slurm."): job for job in answer["jobs"]}
        return [
            job
            for number, job in numbers.items()
            if number.isdecimal() and 0 <= int(number) - int(array) < 50
        ]

    def booked(answer: Any) -> bool:
        return len(own(answer)) == 4

    jobs = own(site.until(booked, "jobs?state=ended"))
    assert all(job["scheduler"] is None and job["account"] is None for job in jobs)
    energy_uj = {job["job"]: job["energy_uj"] for job in jobs}
    with urlopen(f"{site.url}/metrics") as answer:
        assert 'joulebook_scheduler_working{scheduler="slurm"} 0' in answer.read().decode()
    (tmp_path / "squeue").symlink_to(str(shutil.which("squeue")))
    jobs = own(site.until(booked, "jobs?account=chem"))
    found = {job["scheduler"]["known_as"] or job["job"]: job for job in jobs}
    assert {
        name: (job["name"], job["user"], job["scheduler"]["state"], job["exit_status"])
        for name, job in found.items()
    } == {
        f"{array}_3": ("many", "nobody", "COMPLETED", 0),
        f"{array}_7": ("many", "nobody", "COMPLETED", 0),
        f"slurm.{fails}": ("fails", "root", "FAILED", 3),
        f"slurm.{short}": ("a\\nb", "root", "COMPLETED", 0),
    }
    for job in jobs:
        check_edges(job, slurm.notes)
    assert site.ask(f"jobs/slurm.{array}_7")["job"] == found[f"{array}_7"]["job"]

    site.counter.stop()
    delivered_uj = site.counter.delivered_uj
    ledger = site.until(lambda a: sum(one["by_domain"]["cpu"] for one in a["accounts"]) == delivered_uj)
    assert ledger["residual_uj"] == 0
    accounts = {one["account"].removeprefix("job:"): one["energy_uj"] for one in ledger["accounts"]}
    # Who received nothing has no account: a job of a moment, whose use the kernel counts in clock ticks.
    assert {job: accounts.get(job, 0) for job in energy_uj} == energy_uj
    hooks_tell_of_a_job(site, slurm, tmp_path / "token")


def hooks_tell_of_a_job(site: Site, slurm: Slurm, token: Path) -> None:
    """The controller's own prolog and epilog tell of a job what Slurm is not asked about."""
    (token.parent / "squeue").unlink()
    for event in ("prolog", "epilog"):
        command = f"{sys.executable} -m joulebook.cli.main hook slurm-{event} --server {site.url}"
        slurm.hook(event, f"{command} --token-file {token} --timeout 300 2>>{slurm.notes}/hooks")
    wait = f"until [ -e {slurm.notes}/go ]; do sleep 0.05; done"
    noted = f"{wait}; date +%s.%N >{slurm.notes}/$SLURM_JOB_ID; exit 4"
    job = slurm.submit(noted, "--job-name=hooked", "--uid=nobody", "--account=bio")
    site.until(lambda answer: f"slurm.{job}" in {one["job"] for one in answer["jobs"]}, "jobs?state=running")
    (slurm.notes / "go").touch()

    def told(answer: Any) -> bool:
        return [one["job"] for one in answer["jobs"] if one["scheduler"]["end"]] == [f"slurm.{job}"]

    (found,) = site.until(told, "jobs?account=bio")["jobs"]
    assert (slurm.notes / "hooks").read_text() == ""
    assert (found["user"], found["name"], found["exit_status"]) == ("nobody", "hooked", 4)
    assert found["scheduler"]["state"] == "FAILED"
    assert found["scheduler"]["start"] <= found["scheduler"]["end"]
    # However busy the machine is: seen to begin before it was told of, and to end after its last line.
    ended = site.until(lambda answer: answer["state"] == "ended", f"jobs/slurm.{job}")
    wrote_s = float((slurm.notes / job).read_text())
    began_s = unix_s(ended["scheduler"]["start"])
    assert began_s <= unix_s(ended["start"]) <= wrote_s <= unix_s(ended["end"])
