"""A real Dask cluster is one job over all its processes, and the books balance."""

import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path

from tests.servers.programs import free_port
from tests.system.applications import Watch, check_books, started, until_booked, until_logged
from tests.system.site import Site

CLIENT = """
import sys, time
from distributed import Client

def work(number):
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    return number

if __name__ == "__main__":
    with Client() as client:
        print("connected", flush=True)
        for turn in range(100_000):
            client.gather([client.submit(work, (turn, n)) for n in range(2)])
"""


def test_a_cluster_is_one_job(site: Site, tmp_path: Path) -> None:
    """Scheduler, two nannies with their workers, and the client: one account, as exact as their clocks."""
    address = f"127.0.0.1:{free_port()}"
    python, port = sys.executable, address.rpartition(":")[2]
    dask = [python, "-m", "dask"]
    environ = os.environ | {"DASK_SCHEDULER_ADDRESS": f"tcp://{address}"}
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    site.counter.start()
    with closing(Watch()) as watch, ExitStack() as running:
        log = tmp_path / "scheduler.log"
        place = ["--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        cluster = [running.enter_context(started([*dask, "scheduler", *place], log))]
        until_logged(cluster[-1], log, "Scheduler at")
        for name in ("A", "B"):
            log = tmp_path / f"{name}.log"
            worker = ["worker", f"tcp://{address}", "--nthreads", "1", "--no-dashboard", "--name", name]
            cluster.append(running.enter_context(started([*dask, *worker], log)))
            until_logged(cluster[-1], log, "Registered to")
        log = tmp_path / "client.log"
        cluster.append(running.enter_context(started([python, str(script)], log, environ)))
        until_logged(cluster[-1], log, "connected")
        pids = [each.pid for each in cluster]
        job = watch.until_one("dask", pids)
        assert job.endswith(f":{port}")
        watch.check_use(job, pids, 1.0)
        until_booked(site, job, 5_000_000)
        assert {"running", "here"} < set(site.line_of(job))
    check_books(site, job, "dask")
