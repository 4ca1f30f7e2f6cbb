"""Tests that share what a machine has one of never run beside each other."""

import pytest

from tests.conftest import HERE, group_of


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("system/test_slurm.py", "machine"),
        ("system/test_spool.py", "machine"),
        ("agent/workloads/test_running.py", "machine"),
        ("agent/test_uplink.py", "agent/test_uplink.py"),
        ("system/test_page.py", "system/test_page.py"),
    ],
)
def test_what_there_is_one_of_is_one_group(path: str, group: str) -> None:
    """Slurm, cgroups and namespaces are used in one process; other files go wherever there is room."""
    assert group_of(HERE / path) == group
