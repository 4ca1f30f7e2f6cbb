"""Answers as JSON, as their models say, without a model made of each: that was most of a long page's time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec
from fastapi import Response
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

_JSON = msgspec.json.Encoder()
Shape = Callable[[Any], Any]


def answered(model: type[BaseModel], answer: Any) -> Response:
    """Return an answer as a response; its attributes are those that the model takes its fields from."""
    return Response(encoded(model, answer), media_type="application/json")


def encoded(model: type[BaseModel], answer: Any) -> bytes:
    """Return an answer as JSON with the names, order and values of the model's fields."""
    return _JSON.encode(_shape(model)(answer))


@cache
def _shape(model: type[BaseModel]) -> Shape:
    """Return what makes an answer into what is encoded as it is."""
    attributes, names, changes = [], [], []
    for i, (name, field) in enumerate(model.model_fields.items()):
        attributes.append(str(field.validation_alias or name))
        names.append(field.serialization_alias or name)
        if (change := _change(field)) is not None:
            changes.append((i, change))
    values = attrgetter(*attributes)
    unchanged = names if names == attributes and not changes else None

    def shaped(answer: Any) -> Any:
        if unchanged is not None and _names(answer.__class__) == unchanged:
            return answer
        found = list(values(answer)) if len(names) > 1 else [values(answer)]
        for i, change in changes:
            found[i] = change(found[i])
        return dict(zip(names, found, strict=True))

    return shaped


@cache
def _names(kind: Hashable) -> list[str] | None:
    """Return the names of a dataclass's fields, which are encoded in their order."""
    return [field.name for field in fields(kind)] if is_dataclass(kind) else None


def _change(field: FieldInfo) -> Shape | None:
    """Return what a field's value becomes; None: it stays as it is."""
    for said in field.metadata:
        if isinstance(said, BeforeValidator):
            change: Shape = said.func  # type: ignore[assignment]
            return change
    kind = field.annotation
    kinds = [kind, *get_args(kind)]
    models = [one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)]
    if not models:
        return None
    shape = _shape(models[0])
    if get_origin(kind) is list:
        return lambda values: [shape(value) for value in values]
    if NoneType in kinds:
        return lambda value: None if value is None else shape(value)
    return shape
