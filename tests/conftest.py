"""Which tests may run beside which, and Hypothesis without a clock."""

from pathlib import Path

import pytest
from hypothesis import settings

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

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def group_of(path: Path) -> str:
    """Return whose tests a file's tests run one after the other with: the machine's, or its own."""
    name = path.relative_to(HERE).as_posix()
    return "machine" if any(name == each or name.startswith(f"{each}/") for each in _MACHINE) else name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each file in one process, and the longest row of tests begin first."""
    groups = {path: group_of(path) for path in {item.path for item in items}}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item.path]))
    # Stable: within a group the order stays as it was.
    items.sort(key=lambda item: groups[item.path] != "machine")
