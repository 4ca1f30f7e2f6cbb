"""A block's file that is not what was written is told by name, and what is not in it is answered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.cli.main import main
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.damage import DamagedFileError
from joulebook.collector.store.duckdb.file import read_only
from joulebook.collector.store.duckdb.files import HOUR_US, KINDS, Files
from joulebook.collector.store.duckdb.keeper import DAY_US, Keeper, Retention
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.protocol import Range, Store
from joulebook.v1.catalogue import by_name
from tests.collector.store.histories import history
from tests.collector.store.told import METRICS, READS
from tests.simulated.delivery import EVER, NOW_US, deliver
from tests.simulated.node import WALL_US, SimulatedNode

_HOURS = 2


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Books of two nodes whose Reports are in blocks of two hours."""
    path = tmp_path_factory.mktemp("damage") / "it's books"
    store = DuckDBStore(path)
    later = SimulatedNode(name="n2", boot=b"c" * 16, wall_us=WALL_US + 2 * HOUR_US)
    deliver(store, [history(SimulatedNode(), step_us=3_000_000), history(later)])
    list(Keeper(store).steps(NOW_US))
    store.close()
    assert len(_files(path)) == len(KINDS) * _HOURS
    return path


def _files(path: Path) -> list[Path]:
    return sorted(Files(path).directory.rglob("*.parquet"))


@contextmanager
def _holding(path: Path, content: bytes | None) -> Iterator[None]:
    """Have a file hold something else, or not be there, for a while."""
    whole = path.read_bytes()
    try:
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        yield
    finally:
        path.write_bytes(whole)


def _asked(path: Path, selected: Range) -> list[str]:
    """Ask everything about a range; return what was said of damaged files."""
    said = []
    with read_only(path) as connection:
        view = Reads(connection, Files(path))
        for read in READS.values():
            try:
                read(cast(Store, view), selected)
            except DamagedFileError as error:
                said.append(str(error))
        for name in METRICS:
            try:
                view.sums(Range(0, NOW_US // HOUR_US * HOUR_US), 60_000_000, by_name()[name].number, None)
            except DamagedFileError as error:
                said.append(str(error))
        # What needs no file is answered.
        assert view._rows("SELECT count(*) > 0 FROM ledger") == [(True,)]
    return said


def _checked(path: Path) -> str:
    found = CliRunner().invoke(main, ["store", "check", "--store", str(path), "--json"])
    assert (found.exit_code, found.exception.__class__) == (1, SystemExit), found
    return found.output


@settings(max_examples=10)
@given(data=st.data())
def test_a_bit_that_turned_is_told(settled: Path, data: st.DataObject) -> None:
    """Whatever bit of whatever file turns, questions answer or name that file, and the check names it."""
    file = data.draw(st.sampled_from(_files(settled)))
    content = bytearray(file.read_bytes())
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    with _holding(file, bytes(content)):
        assert all(str(file) in said for said in _asked(settled, EVER))
        assert str(file) in _checked(settled)


@settings(max_examples=8)
@given(data=st.data())
def test_what_is_cut_off_is_told(settled: Path, data: st.DataObject) -> None:
    """A file that ends early, or has some bytes and no more, is named by what reads it, and by the check."""
    file = data.draw(st.sampled_from(_files(settled)))
    content = file.read_bytes()
    length = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.sampled_from([content[:length], content[length:], b"", bytes(len(content))]))
    with _holding(file, other if len(other) < len(content) or not any(other) else b""):
        said = _asked(settled, EVER)
        assert said
        assert all(str(file) in one and "backup" in one for one in said)
        assert str(file) in _checked(settled)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", ["missing", "of another hour", "of another kind"])
def test_what_is_another_file_is_told(settled: Path, kind: str, other: str) -> None:
    """A file that is not there, or is another one of the store, is named by the check at least."""
    files = [file for file in _files(settled) if f"/{kind}/" in str(file)]
    apart = next(file for file in _files(settled) if f"/{kind}/" not in str(file))
    content = {
        "missing": None,
        "of another hour": files[1].read_bytes(),
        "of another kind": apart.read_bytes(),
    }
    with _holding(files[0], content[other]):
        said = _asked(settled, EVER)
        assert all(str(files[0]) in one for one in said)
        assert said or other == "of another hour"
        assert str(files[0]) in _checked(settled)


def test_other_hours_are_answered(settled: Path) -> None:
    """Where one hour's files are damaged, all that is asked of another one is answered as before."""
    first, second = (Range(WALL_US + h * HOUR_US, WALL_US + h * HOUR_US + 600_000_000) for h in (0, 2))
    with read_only(settled) as connection:
        view = Reads(connection, Files(settled))
        before = {name: read(cast(Store, view), second) for name, read in READS.items()}
    damaged = [file for file in _files(settled) if file.name == "00000000.parquet"]
    kept = {file: file.read_bytes() for file in damaged}
    try:
        for file in damaged:
            file.write_bytes(b"PAR1 no more PAR1")
        with read_only(settled) as connection:
            view = Reads(connection, Files(settled))
            assert {name: read(cast(Store, view), second) for name, read in READS.items()} == before
            with pytest.raises(DamagedFileError, match=r"00000000\.parquet is damaged"):
                view.raw_energy(first)
    finally:
        for file, content in kept.items():
            file.write_bytes(content)
    assert CliRunner().invoke(main, ["store", "check", "--store", str(settled)]).exit_code == 0


def test_housekeeping_goes_on_beside_a_damaged_file(
    settled: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Hours with a damaged file wait to be settled until it is there again; others are, and old files go."""
    for one in settled.parent.glob(f"{settled.name}*"):
        (shutil.copytree if one.is_dir() else shutil.copyfile)(one, tmp_path / one.name)
    path = tmp_path / settled.name
    store = DuckDBStore(path)
    keeper = Keeper(store, policy=Policy.RESERVED)
    file = next(file for file in _files(path) if "/reports/" in str(file))
    with _holding(file, b""):
        list(keeper.steps(NOW_US))
        list(keeper.steps(NOW_US))
        assert caplog.text.count(f"{file} is damaged") == 1
        assert store._rows("SELECT count(DISTINCT hour) FROM rebooked_hours") == [(_HOURS - 1,)]
        assert store._rows("SELECT count(*) FROM blocks WHERE rebooked") == [(0,)]
    list(keeper.steps(NOW_US))
    assert store._rows("SELECT count(*) FROM blocks WHERE rebooked") == [(_HOURS,)]
    file.write_bytes(b"")
    list(Keeper(store, Retention(raw_days=1, minutes_days=1)).steps(NOW_US + 2 * DAY_US))
    assert _files(path) == []
    store.close()
