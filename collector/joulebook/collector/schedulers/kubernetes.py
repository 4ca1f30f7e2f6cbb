"""Kubernetes' API server asked about pods: all are listed once, then it tells what becomes of them.

Watched, because most pods are deleted as soon as they end: whoever asks later is told of nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx

from joulebook.collector.credentials import CredentialsError, secret_of
from joulebook.collector.schedulers.kubernetes_config import KubernetesConfig
from joulebook.collector.schedulers.pod_answers import (
    GONE,
    Page,
    RefusedError,
    parse_event,
    parse_page,
    parse_status,
)
from joulebook.collector.schedulers.pods import Labels, deleted
from joulebook.collector.schedulers.source import NoAnswerError
from joulebook.collector.schedulers.stats import SchedulerStats
from joulebook.collector.store.scheduled import Scheduled

_log = logging.getLogger(__name__)

_PODS = "/api/v1/pods"
_PAGE = 250
# Of one answer, or of one event: etcd keeps no object of more than 1.5 MiB.
_MOST_BYTES = 64 << 20
_MOST_EVENT_BYTES = 8 << 20
_MOST_PODS = 500_000
_MOST_PAGES = 4 * _MOST_PODS // _PAGE
# Those that were deleted, the newest.
_MOST_GONE = 20_000
# The server ends a watch after so long: a connection that is dead is found out soon.
_WATCH_S = 120
_LISTS = 3
_BRIEF = 3
_SHOWN = 300
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_GRANT = "deploy/kubernetes/rbac.yaml grants it"


class KubernetesError(NoAnswerError):
    """What the API server did not answer: where, and why."""


class _GoneError(Exception):
    """The server no longer knows what happened since: everything is to be listed anew."""


class KubernetesPods:
    """Follows the cluster's pods, and tells of each what was said of it last."""

    # Nothing is asked for it.
    at_once = 1 << 20

    def __init__(
        self,
        config: KubernetesConfig,
        stats: SchedulerStats,
        wall_clock_us: Callable[[], int],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._config = config
        self._stats = stats
        self._wall_clock_us = wall_clock_us
        self._url = config.server.rstrip("/") or _in_cluster(environ)
        self._labels = Labels(config.user_label, config.account_label, config.partition_label)
        self._pods: dict[str, Scheduled] = {}
        self._gone: dict[str, Scheduled] = {}
        # From where a watch goes on; "": everything is to be listed.
        self._version = ""
        self._heard = False
        self._trouble: str | None = None
        self._tried = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled, whatever goes wrong."""
        while True:
            wait_s, fresh = self._config.period_s, not self._version
            try:
                await self._follow()
            except _GoneError:
                # What happened until the next list is missed, but for who forgets what it has just told.
                wait_s = wait_s if fresh and not self._heard else 0
                self._version, self._heard = "", False
            except NoAnswerError as error:
                self._trouble = str(error)
            except Exception as error:
                _log.exception("following pods failed; it is tried again")
                self._version, self._trouble = "", f"{type(error).__name__}: {error}"
            self._tried.set()
            await asyncio.sleep(wait_s)

    async def jobs(self, numbers: Sequence[str]) -> dict[str, Scheduled]:
        """Return what was said of pods last, by their UIDs. Raises KubernetesError while nothing is heard."""
        await self._tried.wait()
        if self._trouble is not None:
            raise KubernetesError(self._trouble)
        return {uid: told for uid in numbers if (told := self._pods.get(uid) or self._gone.get(uid))}

    async def _follow(self) -> None:
        """List, then watch until something ends it: _GoneError, KubernetesError."""
        async with self._client() as client:
            if not self._version:
                await self._list(client)
            brief = 0
            while brief < _BRIEF:
                brief = 0 if await self._watch(client) else brief + 1
        raise self._error(f"{brief} times in a row it ends a watch at once")

    async def _list(self, client: httpx.AsyncClient) -> None:
        for _ in range(_LISTS):
            try:
                pods, version = await self._pages(client)
            except _GoneError:
                # Its snapshot was forgotten between two pages.
                continue
            missed = [uid for uid in self._pods if uid not in pods]
            for uid in missed:
                self._forget(uid, self._pods[uid])
            self._pods, self._version = pods, version
            return
        raise self._error(f"{_LISTS} times it forgot a list of pods before its last page")

    async def _pages(self, client: httpx.AsyncClient) -> tuple[dict[str, Scheduled], str]:
        pods: dict[str, Scheduled] = {}
        token = ""
        for _ in range(_MOST_PAGES):
            asked = {"limit": str(_PAGE)} | ({"continue": token} if token else {})
            page = await self._page(client, asked)
            pods |= page.pods
            if len(pods) > _MOST_PODS:
                raise self._error(f"more than {_MOST_PODS} pods")
            if not (token := page.token):
                if not page.version:
                    raise self._error("a list of pods without a resourceVersion")
                return pods, page.version
        raise self._error(f"a list of pods of more than {_MOST_PAGES} pages")

    async def _page(self, client: httpx.AsyncClient, asked: Mapping[str, str]) -> Page:
        parts, size = [], 0
        async with self._asked(client, "list", asked, self._config.timeout_s) as answer:
            async for part in answer.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > _MOST_BYTES:
                    raise self._error(f"said more than {_MOST_BYTES} bytes")
        try:
            return parse_page(b"".join(parts), self._labels, self._wall_clock_us())
        except ValueError as error:
            raise self._error(str(error)) from error

    async def _watch(self, client: httpx.AsyncClient) -> bool:
        """Take events until the server ends it in order; say whether it was of any use.

        Raises _GoneError and KubernetesError.
        """
        asked = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_S)}
        asked["resourceVersion"] = self._version
        began = asyncio.get_running_loop().time()
        heard = False
        async with self._asked(client, "watch", asked, _WATCH_S + self._config.timeout_s) as answer:
            self._trouble = None
            self._tried.set()
            async for line in self._lines(answer):
                heard = True
                self._take(line)
        return heard or asyncio.get_running_loop().time() - began > 1

    async def _lines(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        rest = bytearray()
        async for part in answer.aiter_bytes():
            rest += part
            if b"\n" in part:
                *lines, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
                for line in filter(None, lines):
                    yield line
            if len(rest) > _MOST_EVENT_BYTES:
                raise self._error(f"an event of more than {_MOST_EVENT_BYTES} bytes")

    def _take(self, line: bytes) -> None:
        try:
            event = parse_event(line, self._labels, self._wall_clock_us())
        except RefusedError as error:
            if error.code == GONE:
                raise _GoneError from error
            raise self._error(f"ended the watch ({error})") from error
        except ValueError as error:
            # What it meant is not known, so what is known may no longer hold.
            self._version = ""
            raise self._error(str(error)) from error
        if event.told is not None and event.is_deletion:
            self._pods.pop(event.uid, None)
            self._forget(event.uid, event.told)
        elif event.told is not None:
            self._pods[event.uid] = event.told
        self._version, self._heard = event.version or self._version, True

    def _forget(self, uid: str, told: Scheduled) -> None:
        self._gone[uid] = deleted(told, self._wall_clock_us())
        while len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]

    def _client(self) -> httpx.AsyncClient:
        if not self._url:
            raise KubernetesError(
                f"collector.kubernetes.server is empty and {_HOST} is not set; expected https://host:port, "
                "or to run in a pod"
            )
        try:
            context = ssl.create_default_context(cafile=self._config.ca or None)
        except (OSError, ssl.SSLError) as error:
            raise KubernetesError(
                f"collector.kubernetes.ca = {self._config.ca!r}: expected PEM certificates ({error})"
            ) from error
        # No proxy: it is near, and a token goes there.
        return httpx.AsyncClient(base_url=self._url, verify=context, trust_env=False, timeout=None)

    def _authorization(self) -> dict[str, str]:
        if not self._config.token:
            return {}
        try:
            # Read anew each time: the kubelet renews it every hour or so.
            secret = secret_of(self._config.token, key="collector.kubernetes.token")
        except CredentialsError as error:
            raise KubernetesError(str(error)) from error
        if not secret.isascii():
            raise KubernetesError("collector.kubernetes.token: expected a token in ASCII")
        return {"Authorization": f"Bearer {secret}"}

    @asynccontextmanager
    async def _asked(
        self, client: httpx.AsyncClient, verb: str, asked: Mapping[str, str], timeout_s: float
    ) -> AsyncIterator[httpx.Response]:
        """Ask for pods; what it answers is to be read within the block, which ends after timeout_s."""
        self._stats.questions += 1
        try:
            # Of the whole answer: httpx's own limits begin anew with every byte.
            async with (
                asyncio.timeout(timeout_s),
                client.stream("GET", _PODS, params=dict(asked), headers=self._authorization()) as answer,
            ):
                if not answer.is_success:
                    raise await self._refused(verb, answer)
                yield answer
        except TimeoutError:
            raise self._error(f"no end of an answer within {timeout_s:g} s ({verb} pods)") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise self._error(str(error) or type(error).__name__) from error

    async def _refused(self, verb: str, answer: httpx.Response) -> Exception:
        if answer.status_code == GONE:
            return _GoneError()
        said = b""
        async for part in answer.aiter_bytes():
            said += part
            if len(said) > 1 << 16:
                break
        status = parse_status(said)
        words = " ".join((status.message or said.decode(errors="replace")).split())[:_SHOWN]
        why = f"{answer.status_code} {answer.reason_phrase} to {verb} pods ({words!r})"
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            why += (
                "; collector.kubernetes.token has no token that it takes: it has expired, is of another "
                "cluster, or there is none"
            )
        elif answer.status_code == httpx.codes.FORBIDDEN:
            why += (
                "; expected a ClusterRole bound to that user with the rule "
                f'{{apiGroups: [""], resources: ["pods"], verbs: ["{verb}"]}}: {_GRANT}'
            )
        return self._error(why)

    def _error(self, why: str) -> KubernetesError:
        return KubernetesError(f"the API server at {self._url}: {why}")


def _in_cluster(environ: Mapping[str, str]) -> str:
    """Return the API server's address that every container is told; "" outside of any."""
    host = environ.get(_HOST, "")
    if not host:
        return ""
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}:{environ.get(_PORT, '') or 443}"
