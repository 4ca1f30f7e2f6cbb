"""Steps are found in order, and one that was released stays as it was."""

import hashlib
from importlib import resources
from pathlib import Path

import pytest

from joulebook.collector.store.duckdb.migrations.steps import released, steps_in

# Add a line for a new step; a line that is here never changes, since files in the field were made by it.
RELEASED = {
    "0001_tables.sql": "d8e645a10c5a757877dcfd15576735c6922520ba720d4661d7b8b29459632d35",
    "0003_blocks.sql": "2f76131e02a07145d3b458d8351aa12ff692546a602ef3be4e094875782d9b94",
    "0004_books_added_up.sql": "fd30524e4d78c0b5f6b3fbc53830f2e051f6ec731f8ef4ae9fed1b86e860579e",
    "0005_revisions.sql": "01cd72df93173f77c1e984a0a8ed63b32cd8247c605797a40f6334b1462b2b20",
    "0006_measured_when_stored.sql": "97ae11f0907924ec3d9ce4115eac48522349c0a0c3f3d47b62cdbe201c8b1e62",
    "0007_narrow_cells.sql": "dad3c82d59e710e437b95924ac462f50c9884663893d4ded35ce8b41f55a2fab",
    "0008_days.sql": "fab54111ad41ae43e56dfad69db65be2b8ac8b66fede6cd32db7d14063aa119a",
    "0009_scheduled.sql": "fdb56b2e4e5406cecdc3587f28d263a76029a730339e6927b46bba8440da26e2",
    "0010_forgotten_books.sql": "51ea778ed499ce707e25354e9bc24d2df1f513345ba4e51d3eabb5e5f786bfc0",
    "0011_rebooked.sql": "1036d8a45ef1461dee83c9a36b028efa962557823c8b33a8a7e03c5e53bce66f",
    "0012_fresh_cells.sql": "7289af033bbff4a506cf1c0626bc0c47155343e4d04546ab461d8fd0cf3e8d06",
    "0013_block_files.py": "fd046453af78b23fa2eac2265934e8d445fa0548ddf4b92a291637143dc6602c",
    "0002_reports.py": "35fd68aafedaf6cc06c443cad111317cfd58712c77008473d0c92b7ca7d6f970",
    "0014_owners.sql": "283c160709e35e39300285d8d52412aaeadd593391c7ac58e0d9da37f2c31a6e",
    "0015_tiers.sql": "7e7d9fe3117d9bc1a0e7b3baa3a51c98eb341abe9fddf98f5f2a5636ef2ced4e",
}


def test_a_released_step_never_changes() -> None:
    """What made the tables of files in the field is as it was: a change is a new step, and is added here."""
    directory = resources.files("joulebook.collector.store.duckdb.migrations")
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.iterdir()
        if file.name[:4].isdigit()
    }
    assert found == RELEASED
    assert [step.version for step in released()] == list(range(1, len(RELEASED) + 1))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0001_a.sql", "0003_b.sql"], r"step 0003 \(b\): expected a step 0002 here"),
        (["0001_a.sql", "0001_b.sql"], r"step 0001 \(b\): expected a step 0002 here"),
        (["0002_a.sql"], r"step 0002 \(a\): expected a step 0001 here"),
    ],
)
def test_numbers_have_no_holes(tmp_path: Path, names: list[str], expected: str) -> None:
    """Two people who take the same number are told, and so is who skips one."""
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=expected):
        steps_in(tmp_path)
