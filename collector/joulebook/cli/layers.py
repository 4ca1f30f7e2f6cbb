"""The configuration from its layers: defaults < file < environment < flags."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import msgspec

from joulebook.agent.config import AgentConfig
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.config import CollectorConfig

_TOP: dict[str, type[msgspec.Struct]] = {
    "agent": AgentConfig,
    "collector": CollectorConfig,
    "alerts": AlertsConfig,
}
DEFAULT_FILE = Path("/etc/joulebook/joulebook.toml")
_PREFIX = "JOULEBOOK__"

Key = tuple[str, str]
S = TypeVar("S", bound=msgspec.Struct)


class ConfigError(Exception):
    """Everything that is wrong with a configuration, one line each."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def _inner(type_: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    """Return the sections within a section: fields that are structs."""
    hints = get_type_hints(type_)
    fields = {name: hints[name] for name in type_.__struct_fields__}
    return {n: t for n, t in fields.items() if isinstance(t, type) and issubclass(t, msgspec.Struct)}


def _flat(name: str, type_: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    found = {name: type_}
    for inner, its_type in _inner(type_).items():
        found |= _flat(f"{name}.{inner}", its_type)
    return found


# Every section, inner ones by their dotted names: agent, agent.gauges, …
SECTIONS = {name: type_ for top in _TOP for name, type_ in _flat(top, _TOP[top]).items()}


def keys(section: str) -> list[str]:
    """Return the keys of a section, without the sections within it."""
    type_ = SECTIONS[section]
    return [name for name in type_.__struct_fields__ if name not in _inner(type_)]


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and where it came from: a file, a variable of the environment, or a flag."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The effective configuration, and where each value that is not a default came from."""

    agent: AgentConfig
    collector: CollectorConfig
    alerts: AlertsConfig
    origins: Mapping[Key, str]


def load(
    file: Path | None = None,
    flags: Mapping[Key, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Configuration:
    """Join the layers. Raises ConfigError naming every fault at once."""
    errors: list[str] = []
    given = _from_file(_chosen(file, environ), errors) | _from_environment(environ, errors)
    for key, value in (flags or {}).items():
        if value is not None:
            given[key] = Given(value, f"--{key[1].replace('_', '-')}")
    agent = _section(AgentConfig, "agent", given, errors)
    collector = _section(CollectorConfig, "collector", given, errors)
    alerts = _section(AlertsConfig, "alerts", given, errors)
    if errors or agent is None or collector is None or alerts is None:
        raise ConfigError(errors)
    return Configuration(agent, collector, alerts, {key: one.origin for key, one in given.items()})


def _chosen(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    if named := environ.get("JOULEBOOK_CONFIG"):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _from_file(file: Path | None, errors: list[str]) -> dict[Key, Given]:
    if file is None:
        return {}
    try:
        sections = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        errors.append(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})")
        return {}
    except tomllib.TOMLDecodeError as error:
        errors.append(f"{file}: not TOML: {error}")
        return {}
    given: dict[Key, Given] = {}
    for section, values in sections.items():
        _take(file, section, values, given, errors)
    return given


def _take(file: Path, section: str, values: Any, given: dict[Key, Given], errors: list[str]) -> None:
    if section not in SECTIONS:
        errors.append(f"{file}: [{section}]: unknown section{_near(section, SECTIONS)}")
    elif not isinstance(values, dict):
        errors.append(f"{file}: {section} = {values!r}: expected a section [{section}]")
    else:
        for name, value in values.items():
            if f"{section}.{name}" in SECTIONS:
                _take(file, f"{section}.{name}", value, given, errors)
            elif _known(section, name, f"{file}: {section}.{name}", errors):
                given[section, name] = Given(value, str(file))


def _from_environment(environ: Mapping[str, str], errors: list[str]) -> dict[Key, Given]:
    given = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(_PREFIX):
            continue
        section, _, name = variable.removeprefix(_PREFIX).lower().partition("__")
        while (inner := f"{section}.{name.partition('__')[0]}") in SECTIONS:
            section, name = inner, name.partition("__")[2]
        if section not in SECTIONS:
            errors.append(f"{variable}: unknown section {section!r}{_near(section, SECTIONS)}")
        elif _known(section, name, variable, errors):
            try:
                value = _parsed(text, get_type_hints(SECTIONS[section])[name])
            except ValueError as error:
                errors.append(f"{variable} = {text!r}: {error}")
            else:
                given[section, name] = Given(value, variable)
    return given


def _parsed(text: str, type_: Any) -> Any:
    """Return a variable's text as a value of the type; lists and tables are written as in TOML."""
    if get_origin(type_) in (list, dict):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            raise ValueError(f"expected a TOML {get_origin(type_).__name__}") from None
    try:
        return msgspec.convert(text, type_, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(_expectation(error)) from None


def _known(section: str, name: str, where: str, errors: list[str]) -> bool:
    names = keys(section)
    if name in names:
        return True
    names += [inner.removeprefix(f"{section}.") for inner in SECTIONS if inner.startswith(f"{section}.")]
    errors.append(f"{where}: unknown key{_near(name, names)}")
    return False


def _near(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; expected one of {', '.join(known)}"


def _section(type_: type[S], section: str, given: Mapping[Key, Given], errors: list[str]) -> S | None:
    hints = get_type_hints(type_)
    values = {}
    before = len(errors)
    for name in type_.__struct_fields__:
        if (inner := f"{section}.{name}") in SECTIONS:
            values[name] = _section(SECTIONS[inner], inner, given, errors)
            continue
        if (one := given.get((section, name))) is None:
            continue
        try:
            values[name] = msgspec.convert(one.value, hints[name])
        except msgspec.ValidationError as error:
            errors.append(f"{one.origin}: {section}.{name} = {one.value!r}: {_expectation(error)}")
    if len(errors) > before and None in values.values():
        return None
    config = type_(**values)
    for line in config.errors():  # type: ignore[attr-defined]  # every section's struct has it
        errors.append(f"{_origin(line, section, given)}: {line}")
    return config if len(errors) == before else None


def _origin(line: str, section: str, given: Mapping[Key, Given]) -> str:
    """Return where a value came from that a struct complains about: its line begins with the key."""
    name = re.match(rf"{re.escape(section)}\.(\w+)", line)
    one = given.get((section, name[1])) if name else None
    return one.origin if one else "default"


def _expectation(error: Exception) -> str:
    text = str(error).replace("`", "")
    return text[:1].lower() + text[1:]
