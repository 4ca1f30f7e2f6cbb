"""What databases can be asked too: the mean power of 1,000 nodes, and the energy of a job."""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from tests.bench.month import NODES
from tests.servers.influxdb import influxdb
from tests.servers.victoriametrics import victoria_metrics

_HOUR_S, _DAY_S, _REPORT_S = 3_600, 86_400, 10
# As many nodes as the widest job has, for a day of its life.
_JOB_NODES = 256
_ASKED = 30
_VICTORIA, _INFLUX = "VictoriaMetrics 1.79", "InfluxDB 1.6"


def peers() -> dict[str, dict[str, float]]:
    """Return what the mean of an hour in minutes, and a job, take of each: medians, in ms, over HTTP."""
    end_s = int(time.time()) // _HOUR_S * _HOUR_S
    rng = np.random.default_rng(4)
    with tempfile.TemporaryDirectory(dir=Path("build").resolve()) as name:
        found = {"mean": {_VICTORIA: 0.0}, "job": {_VICTORIA: 0.0, _INFLUX: 0.0}}
        # Each question is answered from the data: the same one is not asked twice by people.
        flags = ("-search.latencyOffset=0s", "-search.disableCache")
        with victoria_metrics(Path(name) / "victoria", *flags) as victoria:
            connection = http.client.HTTPConnection("127.0.0.1", victoria.port)
            for body in [*_powers(rng, end_s), *_jobs(rng, end_s)]:
                _post(connection, "/api/v1/import", body)
            victoria.flush()
            mean = {"query": "avg(power_watts)", "start": end_s - _HOUR_S, "end": end_s, "step": 60}
            found["mean"][_VICTORIA] = _asked(connection, f"/api/v1/query_range?{urlencode(mean)}")
            job = {"query": f'sum(increase(job_energy_joules{{job="slurm.1"}}[{_DAY_S}s]))', "time": end_s}
            found["job"][_VICTORIA] = _asked(connection, f"/api/v1/query?{urlencode(job)}")
        with influxdb(Path(name) / "influxdb") as influx:
            database = influx.fresh().rpartition("/")[2]
            connection = http.client.HTTPConnection("127.0.0.1", influx.port)
            for body in _job_lines(rng, end_s):
                _post(connection, f"/write?db={database}&precision=s", body)
            asked = {"db": database, "q": "SELECT sum(uj) FROM job WHERE job = 'slurm.1'"}
            found["job"][_INFLUX] = _asked(connection, f"/query?{urlencode(asked)}")
    return found


def _powers(rng: np.random.Generator, end_s: int) -> Iterator[bytes]:
    """Give the power of each node, second by second, for an hour."""
    times_ms = [(end_s - _HOUR_S + s) * 1000 for s in range(1, _HOUR_S + 1)]
    for node in range(NODES):
        yield _series("power_watts", {"node": f"n{node}"}, rng.integers(200, 700, _HOUR_S).tolist(), times_ms)


def _jobs(rng: np.random.Generator, end_s: int) -> Iterator[bytes]:
    """Give what a job drew on each of its nodes up to every ten seconds of a day."""
    times_ms = [(end_s - _DAY_S + s) * 1000 for s in range(0, _DAY_S + 1, _REPORT_S)]
    for node in range(_JOB_NODES):
        drawn = rng.integers(2_000, 7_000, len(times_ms)).cumsum().tolist()
        yield _series("job_energy_joules", {"job": "slurm.1", "node": f"n{node}"}, drawn, times_ms)


def _job_lines(rng: np.random.Generator, end_s: int) -> Iterator[bytes]:
    for node in range(_JOB_NODES):
        drawn = rng.integers(2_000_000_000, 7_000_000_000, _DAY_S // _REPORT_S).tolist()
        begin_s, tags = end_s - _DAY_S, f"job,job=slurm.1,node=n{node}"
        lines = (f"{tags} uj={uj}i {begin_s + (i + 1) * _REPORT_S}" for i, uj in enumerate(drawn))
        yield "\n".join(lines).encode()


def _series(name: str, labels: dict[str, str], values: list[int], times_ms: list[int]) -> bytes:
    told = {"metric": {"__name__": name} | labels, "values": values, "timestamps": times_ms}
    return json.dumps(told).encode() + b"\n"


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> None:
    connection.request("POST", path, body)
    answer = connection.getresponse()
    told = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{path}: {answer.status} {told[:300]!r}")


def _asked(connection: http.client.HTTPConnection, path: str) -> float:
    times = []
    for _ in range(_ASKED):
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        times.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
    return statistics.median(times)
