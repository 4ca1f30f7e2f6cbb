"""Which tests may run beside which, and Hypothesis without a clock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
# What these use there is one of on a machine: cgroups and who runs in them, Slurm, systemd-nspawn, network
# namespaces. One process runs them one after the other, beside whatever else.
_MACHINE = (
    "agent/test_sampler.py",
    "agent/workloads",
    "cli/test_up.py",
    "docs",
    "system",
)

# Among those, what uses none of it.
_ANYWHERE = (
    "agent/workloads/test_classify.py",
    "agent/workloads/test_figures.py",
    "agent/workloads/test_gpuholders.py",
    "agent/workloads/test_job_facts.py",
    "agent/workloads/test_podresources.py",
    "agent/workloads/test_pods.py",
    "agent/workloads/test_schedulers.py",
    "agent/workloads/test_settings.py",
    "agent/workloads/test_slurm_shares.py",
    "system/test_kill_store.py",
    "system/test_late_reports.py",
    "system/test_page.py",
    "system/test_page_alerts.py",
    "system/test_spool_bound.py",
)

# What takes minutes begins first, so that no process works on it alone in the end.
_LONG = (
    "simulation/test_simulation.py",
    "crashes/test_crashes.py",
    "collector/store/test_conformance_settlement.py",
    "collector/store/test_rewind.py",
    "collector/store/test_garbled.py",
    "collector/store/test_forgetting.py",
)

# A busy machine finds nothing too slow; what is run to accept a change runs the same examples each time. A
# fixture made once for all examples must not remember them: who uses one sees to that.
settings.register_profile(
    "suite",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=bool(os.environ.get("CI")),
    # The same ones once more tell nothing new.
    max_examples=50 if os.environ.get("CI") else 100,
)
settings.load_profile("suite")


def group_of(path: Path) -> str:
    """Return whose tests a file's tests run one after the other with: the machine's, or its own."""
    name = path.relative_to(HERE).as_posix()
    of_machine = any(name == each or name.startswith(f"{each}/") for each in _MACHINE)
    return "machine" if of_machine and name not in _ANYWHERE else name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the longest row of tests, the machine's, begin first; within a group the order stays as it was."""
    order = ("machine", *_LONG)
    items.sort(key=lambda item: order.index(group) if (group := group_of(item.path)) in order else len(order))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Give each group to one process: xdist's own groups go by names that pytest 9.2 keeps elsewhere."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415  # only where there are several

    class Groups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(HERE.parent / nodeid.partition("::")[0])

    return Groups(config, log)


@pytest.fixture(scope="session")
def whole_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have the machine to this process, among those of this run."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    with (tmp_path_factory.getbasetemp().parent / "machine.lock").open("w") as lock:
        # Another holds it: the groups do not do what they are for.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@pytest.fixture(autouse=True)
def alone_on_the_machine(request: pytest.FixtureRequest) -> None:
    """Make sure that nothing else of the machine's group runs beside a test of it."""
    if group_of(request.path) == "machine":
        request.getfixturevalue("whole_machine")
