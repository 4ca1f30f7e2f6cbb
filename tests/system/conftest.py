"""What tests of the whole share: programs of ours, a machine with systemd, Slurm and a browser."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.simulated.machine import build_tree, build_wheels, lacking
from tests.system.browser import chromium
from tests.system.needs import need
from tests.system.servers.slurm.server import PROGRAMS, Slurm
from tests.system.site import Site

# However busy the machine is.
expect.set_options(timeout=300_000)

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def machine_tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Build a machine that has the deploy scripts and wheels, as a fleet tool would bring them."""
    need(lacking())
    tree = tmp_path_factory.mktemp("machine") / "tree"
    try:
        build_tree(tree)
        build_wheels(CHECKOUT, tree / "srv/wheels", tree / "usr/bin/python3")
        shutil.copytree(CHECKOUT / "deploy", tree / "srv/joulebook/deploy")
        yield tree
    finally:
        shutil.rmtree(tree, ignore_errors=True)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Start a collector and an agent; end them whatever the test does."""
    site = Site(tmp_path)
    site.start("collector")
    site.start("agent")
    yield site
    for program in list(site.running):
        site.end(program, signal.SIGKILL)
    site.counter.close()


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    """Start Slurm in a directory of its own, whose path is short enough for a socket."""
    lacking = [name for name in (*PROGRAMS, "stress-ng") if shutil.which(name) is None]
    if lacking or os.getuid() != 0:
        need(f"root and {', '.join(lacking) or 'the right to make cgroups'}: deploy/install-packages")
    with tempfile.TemporaryDirectory(prefix="joulebook-slurm-") as directory, Slurm(Path(directory)) as slurm:
        yield slurm


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for a module's pages."""
    with chromium() as browser:
        yield browser
