"""A real mpirun is one job over its ranks, and the books balance."""

import os
import shutil
import sys
from contextlib import closing
from pathlib import Path

from tests.system.applications import Watch, check_books, started, tree, until_booked
from tests.system.needs import need
from tests.system.site import Site

WORK = "import time\nwhile True: sum(range(10_000)); time.sleep(0.001)"


def test_ranks_are_one_job(site: Site, tmp_path: Path) -> None:
    """Open MPI's mpirun and two ranks: one account, whose CPU time is that of their clocks."""
    if shutil.which("mpirun.openmpi") is None:
        need("openmpi-bin: deploy/install-packages")
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    command = ["mpirun.openmpi", *root, "--oversubscribe", "-np", "2", sys.executable, "-S", "-c", WORK]
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    site.counter.start()
    with closing(Watch()) as watch, started(command, tmp_path / "log") as mpirun:
        job = watch.until_one("mpi", [mpirun.pid])
        assert len(tree([mpirun.pid])) == 3
        watch.check_use(job, [mpirun.pid], 0.5)
        until_booked(site, job, 2_000_000)
    check_books(site, job, "mpi")
