"""Ask a Redfish service over https: DMTF DSP0266, "Protocol details" and "Security details"."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from joulebook.agent.meters.bmc import AskError, read_credentials

_SESSIONS = "/redfish/v1/SessionService/Sessions"
# Documents about power are some KiB; a BMC's largest collections some hundred.
_MOST_BYTES = 1 << 20
_MOST_REDIRECTS = 3
_GOODBYE_S = 2.0
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_SESSIONS = (404, 405, 501)
_FIX_CREDENTIALS = (
    "correct user and password in agent.redfish.credentials, and what the BMC lets that user read"
)
_FIX_ANSWER = "open the same address in a browser; update or restart the BMC"

_FIX_ADDRESS = "check agent.redfish.url, and that the BMC is on the network and serves https"
_FIX_NAME = "set agent.redfish.certificate_name to the name in the BMC's certificate"
_FIX_AUTHORITY = "set agent.redfish.ca to the PEM file of the authority that signed the BMC's certificate"
# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h.
_WRONG_NAME = (62, 64)

Document = dict[str, Any]


class GoneError(AskError):
    """The service has nothing at this path."""


class RedfishService:
    """One BMC's service. Keeps its connection and its session; gives each answer timeout_s in all.

    ca: the authority's certificates; None: the system's. certificate_name: what the certificate is made out
    to, where that is not the address. Redirections to another host are never followed: they would be given
    the session.
    """

    def __init__(
        self,
        url: str,
        credentials: Path | None = None,
        ca: Path | None = None,
        certificate_name: str = "",
        timeout_s: float = 8.0,
    ) -> None:
        parts = urlsplit(url)
        self._origin = (
            parts.scheme,
            parts.hostname or "",
            parts.port or (443 if parts.scheme == "https" else 80),
        )
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._credentials, self._ca, self._name = credentials, ca, certificate_name
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._context: ssl.SSLContext | None = None
        self._headers: dict[str, str] = {}
        self._session = ""

    def get(self, path: str) -> Document:
        """Return a document. GoneError: there is none; AskError: no believable answer came."""
        if self._credentials is not None and not self._headers:
            self._log_in(self._credentials)
        status, _, body = self._followed(path)
        if status == 401 and self._credentials is not None:
            # Sessions end, and restarts of a BMC end them all.
            self._headers = {}
            self._log_in(self._credentials)
            status, _, body = self._followed(path)
        if status in (401, 403):
            raise AskError(f"{path}: the BMC refuses ({status})", _FIX_CREDENTIALS)
        if status == 404:
            raise GoneError(f"{path}: not there (404)", _FIX_ANSWER)
        if status != 200:
            raise AskError(f"{path}: the BMC answers {status}", _FIX_ANSWER)
        return parse_document(body, path)

    def close(self) -> None:
        """End the session, so that the BMC's few places are free for others, and the connection."""
        # Whoever stops the agent does not wait for a BMC that hangs.
        self._timeout_s = min(self._timeout_s, _GOODBYE_S)
        if self._connection is not None and self._connection.sock is not None:
            self._connection.sock.settimeout(self._timeout_s)
        if self._session:
            with contextlib.suppress(AskError):
                self._asked("DELETE", self._session)
            self._session = ""
        self._headers = {}
        self._disconnect()

    def _log_in(self, path: Path) -> None:
        user = read_credentials(path, "agent.redfish.credentials")
        body = json.dumps({"UserName": user.username, "Password": user.password}).encode()
        status, headers, _ = self._asked("POST", _SESSIONS, body)
        token = headers.get("X-Auth-Token", "")
        if status in (200, 201) and token:
            with contextlib.suppress(ValueError):
                self._session = urlsplit(headers.get("Location", "")).path
            self._headers = {"X-Auth-Token": token}
        elif status in _NO_SESSIONS:
            basic = base64.b64encode(f"{user.username}:{user.password}".encode()).decode()
            self._headers = {"Authorization": f"Basic {basic}"}
        else:
            raise AskError(f"the BMC refuses the user {user.username!r} ({status})", _FIX_CREDENTIALS)

    def _followed(self, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        for _ in range(_MOST_REDIRECTS):
            status, headers, body = self._asked("GET", path)
            if status not in _REDIRECTS:
                return status, headers, body
            try:
                target = urlsplit(urljoin(self._url + path, headers.get("Location", "")))
                port = target.port or (443 if target.scheme == "https" else 80)
                target.path.encode("ascii")
            except ValueError as error:
                raise AskError(f"{path}: redirected to no address ({error})"[:300], _FIX_ANSWER) from error
            if (target.scheme, target.hostname, port) != self._origin:
                reason = f"{path}: redirected to {target.scheme}://{target.netloc}, which is not followed"
                raise AskError(reason, "set agent.redfish.url to where the service really is")
            path = target.path
        raise AskError(f"{path}: redirected more than {_MOST_REDIRECTS} times", _FIX_ANSWER)

    def _asked(
        self, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Ask on the kept connection; once more on a new one where the BMC had closed the old one."""
        kept = self._connection is not None
        try:
            return self._exchange(method, path, body)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            self._disconnect()
            if not kept:
                raise AskError(f"{self._url}: the BMC closed the connection", _FIX_ANSWER) from error
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            raise self._fault(error) from error
        try:
            return self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            raise self._fault(error) from error

    def _exchange(
        self, method: str, path: str, body: bytes | None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        until_s = time.monotonic() + self._timeout_s
        connection = self._connection or self._connect()
        self._connection = connection
        headers = {"Accept": "application/json", "OData-Version": "4.0", **self._headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        data = b""
        while chunk := response.read1(65536):
            data += chunk
            if len(data) > _MOST_BYTES:
                raise AskError(f"{path}: the BMC's answer is larger than {_MOST_BYTES} bytes", _FIX_ANSWER)
            if time.monotonic() > until_s:
                raise TimeoutError
        # Tells http.client that this was all; read1 does not.
        response.read()
        if response.will_close:
            self._disconnect()
        return response.status, response.headers, data

    def _connect(self) -> http.client.HTTPConnection:
        scheme, host, port = self._origin
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        # Authorities are read once: that may take as long as many questions.
        context = self._context or ssl.create_default_context(cafile=self._ca)
        self._context = context
        if not self._name:
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)
        return _NamedConnection(host, port, self._name, self._timeout_s, context)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fault(self, error: Exception) -> AskError:
        if isinstance(error, AskError):
            return error
        reason, fix = f"no HTTP: {error!r}"[:200], _FIX_ANSWER
        if isinstance(error, ssl.SSLCertVerificationError):
            # The file of authorities may be mended meanwhile.
            self._context = None
            reason = f"certificate not accepted: {error.verify_message}"
            fix = _FIX_NAME if error.verify_code in _WRONG_NAME else _FIX_AUTHORITY
        elif isinstance(error, FileNotFoundError):
            reason, fix = f"agent.redfish.ca = {str(self._ca)!r}: no such file", "correct agent.redfish.ca"
        elif isinstance(error, ssl.SSLError):
            reason, fix = f"no TLS: {error.reason or error}", "check port and certificates in [agent.redfish]"
        elif isinstance(error, TimeoutError):
            reason, fix = f"no answer within {self._timeout_s:g} s", "restart the BMC"
        elif isinstance(error, OSError):
            reason, fix = str(error.strerror or error), _FIX_ADDRESS
        return AskError(f"{self._url}: {reason}", fix)


class _NamedConnection(http.client.HTTPSConnection):
    """https to an address whose certificate is made out to a name."""

    def __init__(self, host: str, port: int, name: str, timeout_s: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout_s, context=context)
        self._context_of_name, self._certificate_name = context, name

    def connect(self) -> None:
        """Connect, and check the certificate against the name."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._context_of_name.wrap_socket(self.sock, server_hostname=self._certificate_name)


def parse_document(data: bytes, path: str) -> Document:
    """Parse a JSON object, numbers exactly as written. AskError: it is none."""
    try:
        document = json.loads(data, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise AskError(f"{path}: not JSON: {data[:60]!r}", _FIX_ANSWER) from error
    if not isinstance(document, dict):
        raise AskError(f"{path}: {data[:60]!r} is no JSON object", _FIX_ANSWER)
    return document
