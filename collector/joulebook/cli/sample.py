"""The configuration as TOML: a commented sample of every default, and any values."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from joulebook.cli.layers import SECTIONS, keys


def sample() -> str:
    """Return every key with its default, and the comment that stands above it in the struct."""
    lines = ["# Configuration of joulebook. Every key is shown with its default."]
    for section, type_ in SECTIONS.items():
        lines += ["", f"[{section}]"]
        comments, defaults = _comments(type_), msgspec.to_builtins(type_())
        for name in keys(section):
            lines += [f"# {line}" for line in comments.get(name, ())]
            lines.append(f"{name} = {toml_value(defaults[name])}")
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    # Strings, numbers and booleans are written alike in both.
    return json.dumps(value, ensure_ascii=False)


def _comments(type_: type[msgspec.Struct]) -> dict[str, list[str]]:
    return dict(_annotated(inspect.getsource(type_).splitlines(), type_.__struct_fields__))


def _annotated(source: list[str], names: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    above: list[str] = []
    for line in source:
        text = line.strip()
        if text.startswith("# "):
            above.append(text[2:])
            continue
        name = text.partition(":")[0]
        if name in names and above:
            yield name, above
        above = []
