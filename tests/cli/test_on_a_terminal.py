"""Lists and jobs on real terminals of several widths, and in a pipe, from a real collector."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.scheduled import Scheduled
from tests.simulated.collector import LiveCollector
from tests.simulated.delivery import decoded, deliver
from tests.simulated.node import Load, SimulatedNode

POD = "k8s.0a1b2c3d-1111-2222-3333-444455556666"
SPARK = "spark.application_1700000000000_0042"
LONG = "cgroup." + "x" * 200
# Every other one: no range of hosts makes it short.
ODD = [f"gpu{number:03}" for number in range(1, 512, 8)]
JOBS = {
    "slurm.1234": [f"gpu{number:03}" for number in range(64)],
    "slurm.1235": [f"gpu{number:03}" for number in range(256)],
    "slurm.1241": ODD,
    POD: ["gpu017"],
    SPARK: ["gpu001", "gpu002"],
    "dask.10.0.0.1:8786": ["gpu003"],
    "run.f2e25012fa7cc15c": ["gpu004"],
    LONG: ["gpu005"],
}
NAMES = {
    POD: "prod/llama-70b-infer-5c7d9f8b6d-x2x4k",
    SPARK: "two words",
    "run.f2e25012fa7cc15c": "a\nb\x1b[2J漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字",
    LONG: "y" * 255,
}
TOLD = {
    "slurm.1234": Scheduled(user="ada", account="chem", name="train bert large", state="RUNNING"),
    "slurm.1241": Scheduled(
        known_as="1240_7", user="bob", account="phys", name="sweep", state="OUT_OF_MEMORY"
    ),
}
# Width → so long an id stands whole there, and the columns that there is room for.
SHOWN = {
    60: (48, "job energy"),
    80: (48, "job name energy"),
    100: (50, "job name state power energy"),
    120: (60, "job name state nodes power energy"),
    160: (80, "job name state nodes duration power energy"),
    220: (110, "job name user state nodes start duration power energy"),
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a collector answers that has many jobs of all kinds on 512 nodes."""
    path = str(tmp_path_factory.mktemp("books") / "books.duckdb")
    store = DuckDBStore(path)
    batch = []
    for name in sorted({name for names in JOBS.values() for name in names}):
        node = SimulatedNode(name=name)
        own = [job for job, names in JOBS.items() if name in names]
        node.begin([Load(job, cpu_us=100_000, name=NAMES.get(job, "")) for job in own])
        node.tick()
        batch += decoded(node, [node.report()])
    deliver(store, [batch])
    store.schedule(TOLD)
    store.close()
    with LiveCollector(path) as live:
        yield f"http://{live.addresses.http}"


def command(url: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return [sys.executable, "-m", "joulebook.cli.main", *arguments], environment | {"JOULEBOOK_SERVER": url}


def on_terminal(width: int, url: str, *arguments: str) -> list[str]:
    """Run a command on a terminal of so many columns; return its lines without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    words, environment = command(url, *arguments)
    with subprocess.Popen(words, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = bytearray()
        # A terminal whose last program has ended is an error to read.
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:
                break
    os.close(ours)
    assert process.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).rstrip("\r\n").split("\r\n")


def in_pipe(url: str, *arguments: str) -> list[str]:
    words, environment = command(url, *arguments)
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.rstrip("\n").split("\n")


@pytest.mark.parametrize("width", SHOWN)
def test_jobs_fit_the_terminal(url: str, width: int) -> None:
    """A job is a line, no line is wider than the terminal, and ids stand whole where there is room."""
    whole, columns = SHOWN[width]
    head, rule, *rows = on_terminal(width, url, "jobs")
    assert head.split() == columns.split()
    assert set(rule) == {"─"}
    assert len(rows) == len(JOBS)
    assert all(cell_len(line) <= width and line.isprintable() for line in (head, rule, *rows))
    for job in JOBS:
        assert any(row.startswith(f"{job} ") for row in rows) == (len(job) <= whole)
    (long,) = (row for row in rows if row.startswith("cgroup.x"))
    assert "x…x" in long
    assert all(row.endswith("J") for row in rows)


@pytest.mark.parametrize(
    ("width", "columns", "hosts"),
    [
        (80, "job name state nodes power energy", "64"),
        (100, "job name state nodes duration power energy", "gpu[000-063] (64)"),
        (120, "job name user state nodes duration power energy", "gpu[000-063] (64)"),
        (160, "job name user account state nodes start duration power energy", "gpu[000-063] (64)"),
    ],
)
def test_who_has_slurm_alone_sees_more(url: str, width: int, columns: str, hosts: str) -> None:
    """Shorter ids leave room for more: what is left out depends on what there is."""
    head, _, *rows = on_terminal(width, url, "jobs", "--node", "gpu009")
    assert head.split() == columns.split()
    (many,) = (row for row in rows if row.startswith("slurm.1234"))
    assert hosts in many


def test_jobs_in_a_pipe(url: str) -> None:
    """Without a terminal a job is one line with all that the books say of it; --wide is the same on one."""
    found = json.loads("\n".join(in_pipe(url, "jobs", "--json")))
    head, *rows = in_pipe(url, "jobs")
    assert head.split() == [
        *("job", "name", "user", "account", "state", "nodes", "start", "duration", "power", "energy")
    ]
    assert len(rows) == len(found) == len(JOBS)
    for row, job in zip(rows, found, strict=True):
        assert row.split()[0] == job["job"]
        assert job["start"] in row
        assert re.sub(r"[\n\x1b]", "�", job["name"]) in row
        assert "±" in row
    lists = {job["job"]: row for job, row in zip(found, rows, strict=True)}
    assert "gpu[000-063] (64)" in lists["slurm.1234"]
    assert f"gpu[{','.join(name[3:] for name in ODD)}] (64)" in lists["slurm.1241"]
    assert lists["slurm.1241"].startswith("slurm.1241 (1240_7)")
    assert "OUT_OF_MEMORY" in lists["slurm.1241"]
    # The collector may have settled the hour in between: then the ± is another.
    wide = on_terminal(80, url, "jobs", "--wide")
    assert [_without_pm(line) for line in wide] == [_without_pm(line) for line in (head, *rows)]


def _without_pm(line: str) -> list[str]:
    return line.partition("±")[0].split()


@pytest.mark.parametrize("width", [80, 120])
def test_a_job_of_many_nodes(url: str, width: int) -> None:
    """Its nodes are a list of hosts that breaks after commas, and is one line in a pipe."""
    lines = on_terminal(width, url, "job", "slurm.1241")
    assert all(cell_len(line) <= width for line in lines)
    first = in_pipe(url, "job", "slurm.1241")[0]
    assert f"gpu[{','.join(name[3:] for name in ODD)}] (64): " in first
    broken = [line for line in lines if line.endswith(",")]
    assert len(broken) >= cell_len(first) // width - 1
    assert "".join(lines).replace(" ", "").startswith(first.replace(" ", ""))


def test_a_pod_by_its_name(url: str) -> None:
    """A pod is found by what people call it, slash and all, among all jobs and alone."""
    assert in_pipe(url, "job", f"k8s.{NAMES[POD]}")[0].split()[:2] == [POD, NAMES[POD]]
    (row,) = in_pipe(url, "jobs", "--name", NAMES[POD])[1:]
    assert row.split()[0] == POD


@pytest.mark.parametrize("width", [80, 120, 220])
def test_nodes_fit_the_terminal(url: str, width: int) -> None:
    """A node is a line, with its largest accounts and how many there are besides; whole in a pipe."""
    head, _, *rows = on_terminal(width, url, "nodes", "--limit", "20")
    assert all(cell_len(line) <= width for line in (head, *rows))
    assert [row.split()[0] for row in rows] == [f"gpu{number:03}" for number in range(20)]
    whole = in_pipe(url, "nodes", "--limit", "20")
    assert len(whole) == 21
    assert all(re.search(r"Z$", line) for line in whole[1:])
