"""What commands show of a collector's books."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from joulebook.cli.main import main
from joulebook.cli.tables import job_tables
from tests.simulated.cluster import ENDED_JOB, JOB, cluster
from tests.simulated.collector import LiveCollector


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a collector with two nodes' books answers."""
    books = cluster(str(tmp_path_factory.mktemp("books") / "books.duckdb"))
    books.store.close()
    with LiveCollector(books.path) as live:
        yield f"http://{live.addresses.http}"


def _shown(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"JOULEBOOK_SERVER": url})


def test_jobs(url: str) -> None:
    """Jobs are a table, the newest first, and the same as JSON."""
    shown = _shown(url, "jobs")
    assert shown.exit_code == 0
    assert shown.stdout.index(JOB) < shown.stdout.index(ENDED_JOB)
    found = json.loads(_shown(url, "jobs", "--json").stdout)
    assert [job["job"] for job in found] == [JOB, ENDED_JOB]
    assert [job["job"] for job in json.loads(_shown(url, "jobs", "--json", "--user", "bob").stdout)] == [
        ENDED_JOB
    ]
    assert len(json.loads(_shown(url, "jobs", "--json", "--limit", "1").stdout)) == 1
    assert _shown(url, "jobs", "--user", "nobody").stdout == "no jobs\n"
    assert _shown(url, "jobs", "--partition", "gpu").stdout == "no jobs\n"
    refused = _shown(url, "jobs", "--partition", "")
    assert (refused.exit_code, "partition" in refused.stderr) == (1, True)


def test_job(url: str) -> None:
    """A job is shown by domain with its ±, how it ended and how well it is known."""
    shown = _shown(url, "job", ENDED_JOB).stdout
    for part in (
        "ended with 3",
        "cpu",
        "memory",
        "platform",
        "total",
        "±",
        "measured 66.7 %",
        "nothing booked 33.3 %",
    ):
        assert part in shown
    assert "gpu" not in shown
    assert json.loads(_shown(url, "job", ENDED_JOB, "--json").stdout)["exit_status"] == 3


def test_a_job_whose_figure_changed(url: str) -> None:
    """Which figure it is, and since when, is shown once it is another than the first."""
    found = json.loads(_shown(url, "job", ENDED_JOB, "--json").stdout)
    first, *_ = job_tables(found | {"revision": 1, "superseded": []})
    assert "revision" not in str(first)
    was = {"revision": 2, "energy_uj": 5_000_000, "plus_minus_uj": 1_000_000, "until": "2026-09-21T15:00:00Z"}
    told = {"revision": 3, "revised": was["until"], "settled": True, "superseded": [was]}
    head, *_, last = job_tables(found | told)
    assert str(head).endswith(": ended with 3, settled; revision 3 since 2026-09-21T15:00:00Z")
    assert last == "revision 2 said 5.000 ± 1.000 J until 2026-09-21T15:00:00Z"


def test_what_a_scheduler_told_is_shown(url: str) -> None:
    """Its name of the job, how it ended and what only it knows are there, and else nothing."""
    found = json.loads(_shown(url, "job", ENDED_JOB, "--json").stdout)
    assert "account" not in _shown(url, "jobs").stdout
    told: dict[str, Any] = dict.fromkeys(
        ("known_as", "user", "account", "partition", "owner", "gpu_parts", "state"), ""
    )
    told |= dict.fromkeys(("node_count", "cpus", "gpus", "memory_bytes", "submit", "start", "end"))
    assert len(job_tables(found | {"scheduler": told})) == len(job_tables(found))
    told |= {"known_as": "40_2", "account": "chem", "state": "FAILED", "cpus": 0.25, "memory_bytes": 3 << 29}
    told |= {"owner": "Deployment/web", "gpus": 1.0, "gpu_parts": "mig-1g.10gb:2"}
    head, line, *_ = job_tables(found | {"scheduler": told | {"end": "2026-09-21T15:00:00Z"}})
    assert str(head).startswith(f"{ENDED_JOB} (40_2)  sort  on n1: ended, FAILED with 3")
    assert line == (
        "account chem, owner Deployment/web, 0.25 CPUs, 1 GPU, mig-1g.10gb:2, 1.5 GiB, "
        "end 2026-09-21T15:00:00Z"
    )


def test_unknown_job(url: str) -> None:
    """A job that is not in the books exits with 1 and the collector's own words."""
    failed = _shown(url, "job", "run.abd")
    assert failed.exit_code == 1
    assert "expected a job in the books; did you mean 'run.abc'?" in failed.stderr


def test_nodes(url: str) -> None:
    """Nodes are a table with their meters and what is wrong with a source, and the same as JSON."""
    shown = _shown(url, "nodes").stdout
    for part in ("n1", "n2", "cpu.0 (simulated)", "n2: rapl is unreadable", "run as root"):
        assert part in shown
    assert [node["node"] for node in json.loads(_shown(url, "nodes", "--json").stdout)] == ["n1", "n2"]


def test_server_must_be_a_url() -> None:
    """A server that is no URL is refused with what one looks like."""
    failed = _shown("localhost:8460", "nodes")
    assert failed.exit_code == 1
    assert "expected a URL like" in failed.stderr


def test_storage_is_shown_by_tier_where_one_is_known(url: str) -> None:
    """Tiers stand below storage; of storage of no known tier nothing more is said."""
    found = json.loads(_shown(url, "job", ENDED_JOB, "--json").stdout)
    found["by_domain"]["storage"], found["active_by_domain"]["storage"] = 6_000_000, 2_000_000
    tiers = {"nvme": 1_000_000, "ssd": 0, "hdd": 3_000_000, "other": 2_000_000}
    assert len(_rows_of(found | {"storage_by_tier": dict.fromkeys(tiers, 0) | {"other": 6_000_000}})) == 5
    names = _rows_of(found | {"storage_by_tier": tiers})
    assert names[2:6] == ["storage", "  nvme", "  hdd", "  other"]


def _rows_of(job: dict[str, Any]) -> list[str]:
    """Return what the rows of a job's table are of."""
    (shown,) = (part for part in job_tables(job) if not isinstance(part, str))
    return [str(cell) for cell in shown.columns[0].cells]
