"""Answers as messages of the contract, whose fields have the answers' own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from joulebook.v1 import query_pb2

M = TypeVar("M", bound=Message)


def filled(message: M, answer: Any) -> M:
    """Copy a dataclass into a message, and what it holds likewise; None stays unset.

    Raises ValueError for a whole number that the field has no room for.
    """
    for field in fields(answer):
        value = getattr(answer, field.name)
        if isinstance(value, Mapping):
            _fill_map(getattr(message, field.name), value)
        elif isinstance(value, list):
            _fill_list(getattr(message, field.name), value)
        elif is_dataclass(value):
            part = getattr(message, field.name)
            part.SetInParent()
            filled(part, value)
        elif value is not None:
            setattr(message, field.name, value)
    return message


def _fill_map(target: Any, values: Mapping[str, int | float | str]) -> None:
    for name, value in values.items():
        if not hasattr(target, "get_or_create"):
            target[name] = value
        elif isinstance(value, int):
            target[name].whole = value
        elif isinstance(value, float):
            target[name].real = value
        else:
            target[name].text = value


def _fill_list(target: Any, values: list[Any]) -> None:
    if not hasattr(target, "add"):
        target.extend(values)
    elif values and is_dataclass(values[0]):
        for value in values:
            filled(target.add(), value)
    else:
        target.extend(_series_value(value) for value in values)


def _series_value(value: float | None) -> query_pb2.SeriesValue:
    if value is None:
        return query_pb2.SeriesValue()
    if isinstance(value, int):
        return query_pb2.SeriesValue(sum=value)
    return query_pb2.SeriesValue(mean=value)
