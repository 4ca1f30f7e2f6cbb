"""What a server or a file gives back that was never put there is told as that, whatever is wrong with it."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

import msgspec
from google.protobuf.message import DecodeError

from joulebook.collector.store.protocol import StoreError

# What reading something else than was written comes to.
_GARBLED = (
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError),
    *(msgspec.MsgspecError, DecodeError, zlib.error),
)


class Named(Protocol):
    """What is read from something that has a name."""

    @property
    def place(self) -> str:
        """Return its name, for people."""


S = TypeVar("S", bound=Named)
P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def read_from(place: str) -> Iterator[None]:
    """Tell what cannot be read of what a place gave back. Raises StoreError."""
    try:
        yield
    except _GARBLED as error:
        raise StoreError(
            f"{place}: gave back what was never written there ({type(error).__name__}: {str(error)[:200]}); "
            "does something else answer in its place, or was it changed or damaged?"
        ) from error


def reading(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Have a method tell what it cannot read of what its place gave back."""

    def asked(self: S, *arguments: P.args, **named: P.kwargs) -> R:
        with read_from(self.place):
            return method(self, *arguments, **named)

    return cast(Callable[Concatenate[S, P], R], functools.wraps(method)(asked))
