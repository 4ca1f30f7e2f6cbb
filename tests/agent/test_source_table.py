"""docs/sources.md says what the sources say of themselves, of every source that there is."""

import importlib
import inspect
import pkgutil
from pathlib import Path

from joulebook.agent import meters, usage
from joulebook.agent.source_reference import render
from joulebook.agent.source_table import METERS, USAGE

_DOCS = Path(__file__).parents[2] / "docs/sources.md"


def test_every_source_is_in_the_table() -> None:
    """Each source in meters/ and usage/, and each that is asked beside the tick, has facts under its name."""
    found = set()
    for package in (meters, usage):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for _, one in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                is_source = any(
                    all(hasattr(one, name) for name in names)
                    for names in (("name", "probe", "read", "close"), ("name", "absent", "is_there", "ask"))
                )
                name = getattr(one, "name", None)
                if is_source and one.__module__ == module.name and isinstance(name, str):
                    found.add(name)
    names = [facts.name for facts in (*METERS, *USAGE)]
    assert len(names) == len(set(names))
    # The arbiter is all meters as one.
    assert found == {*names, "meters"}


def test_no_fact_is_missing() -> None:
    """Each says what, where, unit, period, accuracy, privilege, cost and documentation, fit for a table."""
    for facts in (*METERS, *USAGE):
        for name in facts.__slots__:
            text = getattr(facts, name)
            assert text, f"{facts.name}: {name}"
            assert "\n" not in text, f"{facts.name}: {name}"
            assert "|" not in text, f"{facts.name}: {name}"


def test_the_page_is_what_is_rendered() -> None:
    """The committed page is fresh; else: make stubs."""
    assert _DOCS.read_text() == render()
