"""A collector and an agent of this machine."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulated.machine import build_tree, build_wheels, lacking
from tests.system.needs import need
from tests.system.site import Site

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
