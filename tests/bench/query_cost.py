"""What answers take over HTTP, from the books of 1,000 nodes and 30 days; beside two databases."""

from __future__ import annotations

import http.client
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from urllib.parse import quote, urlencode

from joulebook.collector.queries.jobs import get_job
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.protocol import Range
from tests.bench.month import NODES, Month, month, name
from tests.bench.month_peers import peers
from tests.bench.processes import free_port, running
from tests.bench.rows import Row, row

_TARGET_MS = 100.0
_WARM = 60
# The collector as it is, but for its clock: it is set back to where the store ends.
_CLOCK_SET_BACK = """
import sys, time
back, real = int(sys.argv.pop(1)), time.time_ns
time.time_ns = lambda: real() - back
from joulebook.cli.main import main
main()
"""
Question = Callable[[Random], str]


def measure() -> list[Row]:
    """Return the median and the slowest of every question, and what has a peer beside it."""
    kept = month()
    with tempfile.TemporaryDirectory(dir="build") as directory:
        path = Path(directory) / "books.duckdb"
        shutil.copy(kept.path, path)
        shutil.copytree(f"{kept.path}.blocks", f"{path}.blocks", copy_function=os.link)
        energy_ms, whole_ms = _in_store(path, kept)
        _forget_pages(path)
        found = {what: [first, *_summary(later)] for what, first, later in _asked(path, kept)}
    rows = []
    for what, (first, median, worst) in found.items():
        rows.append(row(f"{what}, median", "ms", median, target=_TARGET_MS))
        rows.append(row(f"{what}, slowest of {_WARM}", "ms", worst))
        rows.append(row(f"{what}, first after a start", "ms", first))
    beside = peers()
    mean = found["power, all nodes, 1 h in 60 s steps"][1]
    for peer, took in beside["mean"].items():
        what = "power of all nodes, 1 h in 60 s steps, over HTTP"
        rows.append(row(what, "ms", mean, peer=peer, peer_value=took, target=1.0, of_ratio=True))
    for peer, took in beside["job"].items():
        what = "a job of 256 nodes, over HTTP; peers: its energy alone"
        rows.append(row(what, "ms", found["a job of 256 nodes"][1], peer=peer, peer_value=took))
    rows.append(row("the energy of a job of 256 nodes, in the store", "ms", energy_ms, target=1.0))
    rows.append(row("a job of 256 nodes, in the store", "ms", whole_ms))
    return rows


def _summary(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), max(times)


def _in_store(path: Path, kept: Month) -> tuple[float, float]:
    """Return how long the wide job takes in the store, in ms: its energy by node and class, and all of it."""
    store = DuckDBStore(path)
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(100):
        began = time.perf_counter()
        store.totals([f"job:{kept.wide_job}"], Range(0, kept.end_us))
        between = time.perf_counter()
        get_job(store, kept.wide_job)
        took[0].append((between - began) * 1000)
        took[1].append((time.perf_counter() - between) * 1000)
    store.close()
    return statistics.median(took[0]), statistics.median(took[1])


def _forget_pages(path: Path) -> None:
    """Have the kernel read the file from the disk again."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _asked(path: Path, kept: Month) -> Iterator[tuple[str, float, list[float]]]:
    port = free_port()
    back = time.time_ns() - kept.end_us * 1000
    command = [sys.executable, "-c", _CLOCK_SET_BACK, str(back), "collector"]
    command += [f"--http=127.0.0.1:{port}", f"--grpc=127.0.0.1:{free_port()}", f"--store={path}"]
    with running(command, port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        rng = Random(1)
        for what, question in _questions(kept):
            times = [_ms(connection, question(rng)) for _ in range(_WARM + 1)]
            print(f"{what}: {times[0]:.1f}, then {statistics.median(times[1:]):.1f} ms", file=sys.stderr)
            yield what, times[0], times[1:]


def _ms(connection: http.client.HTTPConnection, path: str) -> float:
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
    return (time.perf_counter() - began) * 1000


def _questions(kept: Month) -> Iterator[tuple[str, Question]]:
    """Give every path that the API offers, with what people ask of it."""

    def at(path: str, **parameters: str | int) -> Question:
        named = {key.rstrip("_"): value for key, value in parameters.items()}

        def of(rng: Random) -> str:
            node = name(rng.randrange(NODES))
            filled = {key: node if value == "NODE" else value for key, value in named.items()}
            asked = path.replace("NODE", node)
            return f"{asked}?{urlencode(filled)}" if filled else asked

        return of

    api = "/api/v1"
    yield "page", at("/")
    yield "nodes, 100", at(f"{api}/nodes")
    yield "nodes, 1,000", at(f"{api}/nodes", limit=1000)
    yield "a node", at(f"{api}/nodes/NODE")
    yield "jobs, 100", at(f"{api}/jobs")
    yield "jobs, 1,000", at(f"{api}/jobs", limit=1000)
    yield "jobs that run", at(f"{api}/jobs", state="running")
    yield "jobs of a user", at(f"{api}/jobs", user="ada")
    yield "jobs of a node", at(f"{api}/jobs", node="NODE")
    yield "a job of 256 nodes", at(f"{api}/jobs/{quote(kept.wide_job)}")
    yield "a short job", at(f"{api}/jobs/{quote(kept.short_job)}")
    power = f"{api}/power"
    yield "power, all nodes, 1 h in 60 s steps", at(power, from_="-1h", step="60s", limit=1)
    for said, from_ in (("1 h", "-1h"), ("1 d", "-1d"), ("30 d", "-30d")):
        yield f"power by account, all nodes, {said}", at(power, from_=from_)
        yield f"power by account, a node, {said}", at(power, from_=from_, node="NODE")
    series = f"{api}/series"
    for said, from_, step in (("10 min in 1 s", "-10m", "1s"), ("1 h in 60 s", "-1h", "60s")):
        yield f"series, a node, {said}", at(series, metric="energy_uj", node="NODE", from_=from_, step=step)
    for said, from_, step in (("1 d in 5 min", "-1d", "5m"), ("30 d in 2 h", "-30d", "2h")):
        yield f"series, a node, {said}", at(series, metric="energy_uj", node="NODE", from_=from_, step=step)
    busy: dict[str, str | int] = {"metric": "cpu_busy_us", "limit": 1000}
    for said, from_, step in (("1 h in 60 s", "-1h", "60s"), ("30 d in 1 d", "-30d", "24h")):
        yield f"series, 1,000 nodes, {said}", at(series, from_=from_, step=step, **busy)
    for said, from_ in (("1 h", "-1h"), ("1 d", "-1d"), ("30 d", "-30d")):
        yield f"ledger, all nodes, {said}", at(f"{api}/ledger", from_=from_)
        yield f"ledger, a node, {said}", at(f"{api}/ledger", from_=from_, node="NODE")
    yield "alerts", at(f"{api}/alerts")
    yield "rules", at(f"{api}/rules")
    yield "metrics", at("/metrics")
