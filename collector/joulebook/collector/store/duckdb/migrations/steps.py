"""The steps: NNNN_what.sql, or NNNN_what.py with a function `step(connection, path)`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources, util
from importlib.resources.abc import Traversable
from pathlib import Path

import duckdb

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.(sql|py)")


@dataclass(frozen=True, slots=True)
class Step:
    """From the version before to this one, within the caller's transaction.

    What a step writes beside the file must do no harm there when the transaction fails: new files under new
    names, and nothing taken away.
    """

    version: int
    what: str
    apply: Callable[[duckdb.DuckDBPyConnection, Path], object]


def released() -> list[Step]:
    """Return the steps of this program, in order; the last one's version is the newest."""
    return steps_in(resources.files("joulebook.collector.store.duckdb.migrations"))


def steps_in(directory: Traversable) -> list[Step]:
    """Return a directory's steps. Raises ValueError where one is missing or there twice."""
    found = []
    for file in sorted(directory.iterdir(), key=lambda f: f.name):
        if not (named := _NAME.fullmatch(file.name)):
            continue
        what = named[2].replace("_", " ")
        apply = _statements(file.read_text()) if named[3] == "sql" else _function(file)
        found.append(Step(int(named[1]), what, apply))
    for expected, step in enumerate(found, start=1):
        if step.version != expected:
            raise ValueError(f"step {step.version:04d} ({step.what}): expected a step {expected:04d} here")
    return found


def _statements(text: str) -> Callable[[duckdb.DuckDBPyConnection, Path], object]:
    return lambda connection, _path: connection.execute(text)


def _function(file: Traversable) -> Callable[[duckdb.DuckDBPyConnection, Path], object]:
    with resources.as_file(file) as path:
        # Its name begins with a digit, so no import statement can say it.
        spec = util.spec_from_file_location(f"joulebook_step_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = util.module_from_spec(spec)
        spec.loader.exec_module(module)
    step: Callable[[duckdb.DuckDBPyConnection, Path], object] = module.step
    return step
