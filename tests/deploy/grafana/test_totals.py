"""What dashboards show in all is what the books have, to the microjoule."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.queries.jobs import list_jobs
from joulebook.collector.store.rows import AccountRow
from tests.deploy.grafana.site import ALL, HOUR, JOBS, NAMES, PART, Row, Site, books, chosen_job, panels_of
from tests.servers.grafana import Chosen, Shown
from tests.simulated.rack import AWKWARD_JOB, JOB, NODES, SECOND_JOB


@pytest.mark.parametrize("span", [HOUR, PART], ids=["hour", "part"])
def test_totals_of_the_cluster_are_the_books(site: Site, span: tuple[int, int]) -> None:
    """What Cluster shows in all, by account, job, user, node and class is what the ledger has, to the µJ."""
    shown = Shown(*span, {"node": ALL})
    accounts, rows = books(site, span), site.accounts(span)
    energy = {a: uj for a, uj in accounts.items() if a.startswith("job:")}
    idle: dict[str, int] = defaultdict(int)
    for row in rows:
        idle[row.account] += sum(row.idle_uj)
    assert len(energy) == (3 if span == HOUR else 2)
    assert round(site.total("cluster", "Energy", shown) * 3.6e12) == sum(accounts.values())
    assert site.total("cluster", "Idle capacity", shown) == accounts["idle"]
    assert site.total("cluster", "Held idle by jobs", shown) == sum(idle[job] for job in energy)
    # A GPU that nobody holds has users that nobody knows: unattributed is more than the gap.
    assert site.total("cluster", "Not watched", shown) == site.rack.lost_uj < accounts["unattributed"]
    modelled = sum(row.modelled_uj for row in rows) / sum(accounts.values())
    assert site.total("cluster", "Modelled", shown) == pytest.approx(modelled)

    active, held = (site.rows("cluster", "Where the energy went", shown, target)[0] for target in (0, 1))
    assert active["jobs, active"] + held["jobs, held idle"] == sum(energy.values())
    rest = {r["account"]: r["sum"] for r in site.rows("cluster", "Where the energy went", shown, 2)}
    assert rest | energy == accounts

    jobs = {r["account"]: r for r in site.rows("cluster", "Jobs by energy", shown)}
    assert {job: r["energy"] for job, r in jobs.items()} == energy
    assert {job: r["idle"] for job, r in jobs.items()} == {job: idle[job] for job in energy}
    assert all(r["active"] + r["idle"] == r["energy"] for r in jobs.values())
    users = {r["user"]: r["energy"] for r in site.rows("cluster", "Users by energy", shown)}
    owners = {"ada": JOB, "bob": SECOND_JOB, "o'neill": AWKWARD_JOB}
    assert users == {user: energy[f"job:{job}"] for user, job in owners.items() if f"job:{job}" in energy}
    others = {r["account"]: r["energy"] for r in site.rows("cluster", "Accounts other than jobs", shown)}
    assert others == rest

    nodes = {r["node"]: r["energy"] for r in site.rows("cluster", "Nodes by energy", shown)}
    assert nodes == {node: sum(books(site, span, node).values()) for node in NODES}
    assert _classes(site.rows("cluster", "Energy by class of domain", shown)) == _booked_classes(rows)


def _classes(rows: list[Row]) -> dict[str, int]:
    return {name: uj or 0 for row in rows for name, uj in row.items() if name.endswith(("active", "idle"))}


def _booked_classes(rows: list[AccountRow]) -> dict[str, int]:
    active = {f"{name} active": sum(row.active_uj[i] for row in rows) for i, name in enumerate(CLASSES)}
    return active | {f"{name} idle": sum(row.idle_uj[i] for row in rows) for i, name in enumerate(CLASSES)}


@pytest.mark.parametrize("node", NODES)
def test_totals_of_a_node_are_its_books(site: Site, node: str) -> None:
    """What Node shows in all, by account and by class is what the ledger has of the node, to the µJ."""
    for span in (HOUR, PART):
        shown = Shown(*span, {"node": Chosen((node,))})
        accounts = books(site, span, node)
        assert site.total("node", "Energy", shown) == sum(accounts.values())
        rows = site.rows("node", "Energy by account", shown)
        assert {r["account"]: r["energy"] for r in rows} == accounts
        assert sum(r["idle"] for r in rows) == sum(sum(row.idle_uj) for row in site.accounts(span, node))
        classes = _classes(site.rows("node", "Energy by class of domain", shown))
        assert classes == _booked_classes(site.accounts(span, node))
        gap = site.rows("node", "Not watched", shown)
        assert [row["sum"] for row in gap] == ([site.rack.lost_uj] if node == "n1" else [])


def test_totals_of_a_job_are_its_books(site: Site) -> None:
    """What Job shows in all, by node and by class is what the ledger and the list of jobs have, to the µJ."""
    jobs = {job.job: job for job in list_jobs(site.store, limit=10).items}
    assert set(jobs) == set(JOBS)
    for name, job in jobs.items():
        shown = Shown(*HOUR, chosen_job(name))
        assert site.total("job", "Energy", shown) == job.energy_uj > 0
        assert site.total("job", "Active", shown) == job.active_uj
        assert site.total("job", "Held idle", shown) == job.idle_uj
        rows = [row for row in site.accounts(HOUR) if row.account == f"job:{name}"]
        nodes = {r["node"]: r["energy"] for r in site.rows("job", "Energy by node", shown)}
        assert nodes == {row.node: sum(row.active_uj) + sum(row.idle_uj) for row in rows}
        assert sorted(nodes) == job.nodes
        assert _classes(site.rows("job", "Energy by class of domain", shown)) == _booked_classes(rows)
        about = site.rows("job", "About", shown)
        assert {(r["name"], r["user"]) for r in about} == {(job.name, job.user)}
        assert sorted(r["node"] for r in about) == job.nodes
        revised = [(r["revision"], round(r["revised"] * 1000)) for r in site.rows("job", "Revision", shown)]
        assert revised == ([(2, job.revised_us)] if name == JOB else [])
        assert job.revision == (2 if name == JOB else 1)


def test_totals_of_gpus_are_the_books(site: Site) -> None:
    """What GPU shows in all and by GPU is what the ledger has in class gpu, less what passed in the gap."""
    shown = Shown(*HOUR, {"node": ALL, "gpu": ALL})
    gpu = CLASSES.index("gpu")
    booked: dict[str, int] = defaultdict(int)
    for row in site.accounts(HOUR):
        booked[row.node] += row.active_uj[gpu] + row.idle_uj[gpu]
    booked["n1"] -= site.rack.lost_gpu_uj
    shown_uj: dict[str, int] = defaultdict(int)
    for r in site.rows("gpu", "Energy by GPU", shown):
        shown_uj[r["node"]] += r["energy"]
    assert shown_uj == {node: uj for node, uj in booked.items() if uj}
    assert site.total("gpu", "Energy", shown) == sum(booked.values())


def test_every_total_is_compared() -> None:
    """No panel shows µJ or kWh that the tests above do not compare with the books."""
    source = Path(__file__).read_text()
    for name in NAMES:
        for panel in panels_of(name):
            units = {panel["fieldConfig"]["defaults"].get("unit")} | {
                prop.get("value")
                for override in panel["fieldConfig"]["overrides"]
                for prop in override["properties"]
                if prop["id"] == "unit"
            }
            if units & {"si:µJ", "kwatth"}:
                assert f'("{name}", "{panel["title"]}", shown' in source, f"{name}: {panel['title']}"
