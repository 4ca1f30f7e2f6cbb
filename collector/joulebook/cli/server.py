"""The collector's HTTP API as commands see it; nothing but the standard library."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import click


class ServerError(click.ClickException):
    """The collector did not answer, or answered with a problem."""


class UnreachableError(ServerError):
    """Nothing that speaks HTTP is there."""


class Server:
    """A collector's HTTP API."""

    def __init__(self, url: str, *, ca: str = "", timeout_s: float = 30.0, authorization: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise ServerError(f"server {url!r}: expected a URL like http://127.0.0.1:8460")
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._authorization = authorization
        context = ssl.create_default_context(cafile=ca or None)
        # A collector is near; the way to it is not a proxy to the Internet.
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))

    def get(self, *path: str, **parameters: str | int | None) -> Any:
        """Return the answer to a path's parts below /api/v1. Raises ServerError."""
        given = {name: value for name, value in parameters.items() if value is not None}
        query = f"?{urlencode(given)}" if given else ""
        where = "/".join(quote(part, safe="") for part in path)
        return self._answer(Request(f"{self.url}/api/v1/{where}{query}"))

    def post(self, path: str, body: Any) -> Any:
        """Return the answer to what is sent to a path below /api/v1. Raises ServerError."""
        headers = {"Content-Type": "application/json"}
        if self._authorization:
            headers["Authorization"] = self._authorization
        return self._answer(Request(f"{self.url}/api/v1/{path}", json.dumps(body).encode(), headers))

    def _answer(self, request: Request) -> Any:
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return json.load(answer)
        except HTTPError as error:
            raise ServerError(_detail(error)) from error
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise UnreachableError(
                f"no collector answers at {self.url} ({getattr(error, 'reason', None) or error}); "
                "start one with `joulebook up`, or name another with --server"
            ) from error

    def every(self, name: str, limit: int, /, **parameters: str | None) -> list[Any]:
        """Return up to limit items of a list, page by page."""
        items: list[Any] = []
        cursor: str | None = None
        while len(items) < limit:
            page = self.get(name, limit=min(limit - len(items), 1000), cursor=cursor, **parameters)
            with understood(self.url):
                items += page[name]
                cursor = page["next_cursor"]
            # A page without an item, and another after it, would be asked for without end.
            if cursor is None or not page[name]:
                break
        return items


@contextmanager
def understood(url: str) -> Iterator[None]:
    """Tell of an answer that is none of a collector's, wherever it is found not to be. Raises ServerError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ServerError(
            f"{url} answered what no collector of this version says ({type(error).__name__}: "
            f"{str(error)[:100]}); is it a joulebook collector, and of the same version?"
        ) from error


def _detail(error: HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (OSError, HTTPException, RecursionError, ValueError, LookupError, TypeError):
        return f"{error.url}: {error.code} {error.reason}; is it a joulebook collector?"
