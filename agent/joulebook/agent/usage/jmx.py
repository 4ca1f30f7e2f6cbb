"""Fetch the beans that a Java daemon shows at /jmx. Imported where one is asked: HTTP and TLS cost memory."""

import ssl
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

import msgspec

# Beans of Hadoop's own alone: the others are the Java machine's.
_QUERY = "/jmx?qry=Hadoop:*"
_MOST_BYTES = 16 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow none: whoever is configured answers, or nobody."""


def fetch_beans(url: str, timeout_s: float, tls_ca: str = "") -> list[Mapping[str, Any]]:
    """Fetch the beans of a daemon. OSError or ValueError where it does not answer, or not as it should."""
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=tls_ca or None)),
        _NoRedirect(),
    )
    try:
        with opener.open(url.rstrip("/") + _QUERY, timeout=timeout_s) as response:
            data = response.read(_MOST_BYTES + 1)
    except HTTPException as error:
        raise ValueError(f"no HTTP: {error!r}") from None
    if len(data) > _MOST_BYTES:
        raise ValueError(f"an answer of more than {_MOST_BYTES} bytes")
    return parse_beans(data)


def parse_beans(data: bytes) -> list[Mapping[str, Any]]:
    """Parse {"beans": [{"name": …}, …]}."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"/jmx is no JSON: {error}") from None
    beans = document.get("beans") if isinstance(document, dict) else None
    if not isinstance(beans, list):
        raise ValueError("/jmx has no beans")
    return [bean for bean in beans if isinstance(bean, dict) and isinstance(bean.get("name"), str)]
