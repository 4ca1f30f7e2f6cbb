"""What every answer as JSON is made of: times as RFC 3339, lengths in seconds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from joulebook.collector.queries.times import rfc3339

Time = Annotated[str, BeforeValidator(rfc3339), Field(json_schema_extra={"format": "date-time"})]
Seconds = Annotated[float, BeforeValidator(lambda us: us / 1_000_000)]


def _optional_time(unix_us: int | None) -> str | None:
    return None if unix_us is None else rfc3339(unix_us)


def _optional_thousandths(thousandths: int | None) -> float | None:
    return None if thousandths is None else thousandths / 1000


Thousandths = Annotated[float | None, BeforeValidator(_optional_thousandths)]
OptionalTime = Annotated[str | None, BeforeValidator(_optional_time)]


def of(attribute: str, name: str | None = None) -> Any:
    """Take a value from an attribute of another name."""
    return Field(validation_alias=attribute, serialization_alias=name)


class Answer(BaseModel):
    """An answer, taken from a query's own value; nothing else fits."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")
