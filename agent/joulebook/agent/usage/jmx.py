"""Fetch the beans that a Java daemon shows at /jmx. Imported where one is asked: HTTP and TLS cost memory."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

import msgspec

# Beans of Hadoop's own alone: the others are the Java machine's.
_QUERY = "/jmx?qry=Hadoop:*"
_MOST_BYTES = 16 << 20
_FIX_ADDRESS = "check that the daemon runs and serves its web pages there (agent.hdfs.urls)"
_FIX_HANGS = "look into the daemon's log; restart it if it hangs"
_FIX_AUTHORITY = "set agent.hdfs.tls_ca to the PEM file of the authority that signed the daemon's certificate"
_FIX_REFUSED = "let this node read the daemon's /jmx without a log-in"


class JmxError(OSError):
    """A daemon that did not answer as it should; fix says what mends it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow none: whoever is configured answers, or nobody."""


def fetch_beans(url: str, timeout_s: float, tls_ca: str = "") -> list[Mapping[str, Any]]:
    """Fetch the beans of a daemon. OSError or ValueError where it does not answer, or not as it should."""
    # Without TLS one that trusts nobody: it costs nothing to make.
    is_tls = url.startswith("https:")
    context = _trusting(tls_ca, _changed_ns(tls_ca)) if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirect()
    )
    try:
        with opener.open(url.rstrip("/") + _QUERY, timeout=timeout_s) as response:
            data = response.read(_MOST_BYTES + 1)
    except HTTPException as error:
        raise JmxError(f"no HTTP: {error!r}", _FIX_ADDRESS) from None
    except OSError as error:
        raise _fault(error, timeout_s) from None
    if len(data) > _MOST_BYTES:
        raise ValueError(f"an answer of more than {_MOST_BYTES} bytes")
    return parse_beans(data)


# Reading the system's authorities takes 25 ms of CPU: it is done once, and again where the file has changed.
@lru_cache(maxsize=1)
def _trusting(tls_ca: str, _: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tls_ca or None)


def _changed_ns(tls_ca: str) -> int:
    """Return when the file of authorities was changed; 0: the system's are not one file. OSError: no such."""
    if tls_ca:
        return Path(tls_ca).stat().st_mtime_ns
    try:
        return Path(ssl.get_default_verify_paths().cafile or "").stat().st_mtime_ns
    except OSError:
        return 0


def _fault(error: OSError, timeout_s: float) -> JmxError:
    if isinstance(error, urllib.error.HTTPError):
        is_refused = error.code in (401, 403)
        return JmxError(f"it answers {error.code}", _FIX_REFUSED if is_refused else _FIX_ADDRESS)
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return JmxError(f"no answer within {timeout_s:g} s", _FIX_HANGS)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return JmxError(f"certificate not accepted: {cause.verify_message}", _FIX_AUTHORITY)
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return JmxError(reason, _FIX_ADDRESS)


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
