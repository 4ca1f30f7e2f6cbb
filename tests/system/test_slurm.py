"""A real Slurm: its jobs get their own accounts, and the books balance."""

import signal
from typing import Any

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
