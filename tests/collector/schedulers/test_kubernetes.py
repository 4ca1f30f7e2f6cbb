"""The API server is asked about pods over https; whatever it does then, it is told of clearly and mended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from joulebook.collector.schedulers import kubernetes
from joulebook.collector.schedulers.kubernetes import KubernetesError, KubernetesPods
from joulebook.collector.schedulers.kubernetes_config import KubernetesConfig
from joulebook.collector.schedulers.stats import SchedulerStats
from joulebook.collector.store.scheduled import Scheduled
from tests.servers.kubernetes import ApiServer, api_server
from tests.servers.pods import ended, pod

UIDS = [f"{number:08x}-1111-2222-3333-444455556666" for number in range(7)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """A cluster of seven pods."""
    with api_server(tmp_path) as served:
        for number, uid in enumerate(UIDS):
            served.put(pod(uid, f"web-{number}"))
        yield served


def follower(served: ApiServer, **more: Any) -> KubernetesPods:
    settings: dict[str, Any] = {"server": served.url, "token": str(served.token), "ca": str(served.ca)}
    config = KubernetesConfig(**(settings | {"period_s": 1.0} | more))
    assert config.errors() == []
    return unchecked(config)


def unchecked(config: KubernetesConfig) -> KubernetesPods:
    soon = msgspec.structs.replace(config, period_s=0.02)
    return KubernetesPods(soon, SchedulerStats("kubernetes"), lambda: 7, {})


def following(pods: KubernetesPods, do: Callable[[], Awaitable[None]]) -> None:
    """Do something while pods are followed."""

    async def run() -> None:
        running = asyncio.create_task(pods.run())
        try:
            await do()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    asyncio.run(run())


async def until(pods: KubernetesPods, holds: Callable[[dict[str, Scheduled]], bool]) -> dict[str, Scheduled]:
    """Return what is known of pods once something holds of it."""
    while True:
        with suppress(KubernetesError):
            if holds(found := await pods.jobs(UIDS)):
                return found
        await asyncio.sleep(0.01)


async def trouble(pods: KubernetesPods) -> str:
    """Return why it is told of nothing, once it is not."""
    while True:
        try:
            await pods.jobs(UIDS)
        except KubernetesError as error:
            return str(error)
        await asyncio.sleep(0.01)


def why(pods: KubernetesPods) -> str:
    """Return why it is told of nothing."""
    said: list[str] = []

    async def ask() -> None:
        said.append(await trouble(pods))

    following(pods, ask)
    return said[0]


def test_pods_are_listed_in_pages_and_then_watched(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are known from the first answer on; what changes and goes is told, how deleted ones ended too."""
    monkeypatch.setattr(kubernetes, "_PAGE", 3)
    pods = follower(server)

    async def do() -> None:
        found = await pods.jobs([*UIDS[:6], "none"])
        assert {uid: one.name for uid, one in found.items()} == {
            uid: f"prod/web-{number}" for number, uid in enumerate(UIDS[:6])
        }
        assert [asked.get("limit") for asked in server.asked[:3]] == ["3"] * 3
        assert sum("continue" in asked for asked in server.asked) == 2
        server.put(pod(UIDS[0], "web-0", "Failed", containerStatuses=[ended(137, reason="OOMKilled")]))
        server.delete(UIDS[0])
        server.delete(UIDS[1])
        server.put(pod(UIDS[2], "web-2", "Succeeded", containerStatuses=[ended(0)]))
        found = await until(pods, lambda found: found[UIDS[2]].state == "Succeeded")
        assert (found[UIDS[0]].state, found[UIDS[0]].exit_status) == ("Failed (OOMKilled)", 137)
        assert (found[UIDS[1]].state, found[UIDS[1]].end_us) == ("Deleted", 7)
        assert (found[UIDS[2]].exit_status, found[UIDS[3]].end_us) == (0, None)

    following(pods, do)
    assert sum(asked.get("watch") == "true" for asked in server.asked) == 1
    assert len(server.asked) == 4


def test_what_the_server_forgot_is_listed_anew(server: ApiServer) -> None:
    """410 Gone, of a watch: what went meanwhile is known as it was last, and what came too."""
    pods = follower(server)

    async def do() -> None:
        await pods.jobs(UIDS)
        server.forget()
        await until(pods, lambda _: server.watching > 0)
        server.delete(UIDS[4])
        found = await until(pods, lambda found: found[UIDS[4]].state == "Deleted")
        assert len(found) == 7
        with server.changed:
            # Both at once: it went, and nothing tells of it.
            del server.pods[UIDS[5]]
        server.put(pod(UIDS[4], "web-again"))
        server.forget()
        found = await until(pods, lambda found: found[UIDS[4]].name == "prod/web-again")
        found = await until(pods, lambda found: found[UIDS[5]].state == "Deleted")

    following(pods, do)
    assert sum("limit" in asked for asked in server.asked) >= 3


def test_a_list_that_is_forgotten_between_two_pages(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins again; where that never ends, it says so."""
    monkeypatch.setattr(kubernetes, "_PAGE", 3)
    spoilt = 1

    def forget(asked: dict[str, str]) -> None:
        nonlocal spoilt
        if "continue" in asked and spoilt:
            spoilt -= 1
            server.forget()

    server.fault = forget
    pods = follower(server)

    async def do() -> None:
        assert len(await pods.jobs(UIDS)) == 7

    following(pods, do)
    assert spoilt == 0
    spoilt = 99
    assert "3 times it forgot a list of pods before its last page" in why(follower(server))


def test_a_token_that_is_renewed(server: ApiServer) -> None:
    """It is read for every question; one that no longer counts is told of, with the key to look at."""
    pods = follower(server)

    async def do() -> None:
        await pods.jobs(UIDS)
        server.tokens = {"another.token"}
        server.forget()
        said = await trouble(pods)
        assert "401 Unauthorized to " in said
        assert " pods ('Unauthorized'); collector.kubernetes.token has no token that it takes" in said
        server.token.write_text("another.token\n")
        assert len(await until(pods, lambda _: True)) == 7

    following(pods, do)
    server.token.unlink()
    assert "cannot be read" in why(
        unchecked(KubernetesConfig(server=server.url, token=str(server.token), ca=str(server.ca)))
    )


@pytest.mark.parametrize(("verb", "allowed"), [("list", {"watch"}), ("watch", {"list"})])
def test_what_it_may_not(server: ApiServer, verb: str, allowed: set[str]) -> None:
    """The very rule that is missing is named, and for whom."""
    server.verbs = allowed
    said = why(follower(server))
    assert f'User "system:serviceaccount:monitoring:joulebook" cannot {verb} resource "pods"' in said
    assert f'the rule {{apiGroups: [""], resources: ["pods"], verbs: ["{verb}"]}}: deploy/kubernetes' in said


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (200, b"<html>", "never says"),
        (200, b'{"metadata": {"resourceVersion": "1"}, "items": [7]}', "never says"),
        (200, b'{"metadata": {}, "items": null}', "without a resourceVersion"),
        (200, b'{"metadata": {"continue": "x"}, "items": []}', "of more than"),
        (200, b" " * 70_000, "said more than"),
        (302, b"", "302 Found to list pods"),
        (404, b"404 page not found\n", "404 Not Found to list pods ('404 page not found')"),
        (500, b"\xff" * 100_000, "500 Internal Server Error to list pods ('\ufffd"),
        (503, b"apiserver is shutting down", "503 Service Unavailable"),
    ],
)
def test_what_is_no_answer(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, status: int, said: bytes, expected: str
) -> None:
    """Who was asked, for what, and what it said instead; the next answer mends it."""
    monkeypatch.setattr(kubernetes, "_MOST_BYTES", 1 << 16)
    monkeypatch.setattr(kubernetes, "_MOST_PAGES", 5)
    server.fault = lambda _: (status, said)
    pods = follower(server)

    async def do() -> None:
        with pytest.raises(KubernetesError) as refused:
            await pods.jobs(UIDS)
        assert str(refused.value).startswith(f"the API server at {server.url}: ")
        assert expected in str(refused.value)
        server.fault = lambda _: None
        assert len(await until(pods, lambda _: True)) == 7

    following(pods, do)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"<html>\n", "never says"),
        (b'{"type": "ADDED", "object": {}}\n', "never says"),
        (
            b'{"type": "ERROR", "object": {"code": 500, "message": "etcd is away"}}\n',
            "ended the watch (etcd is",
        ),
        (b"x" * 70_000, "an event of more than"),
        (b"", "3 times in a row it ends a watch at once"),
    ],
)
def test_what_is_no_event(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, said: bytes, expected: str
) -> None:
    """A watch that says something else ends; then all is listed again."""
    monkeypatch.setattr(kubernetes, "_MOST_EVENT_BYTES", 1 << 16)
    server.fault = lambda asked: (200, said) if "watch" in asked else None
    pods = follower(server)

    async def do() -> None:
        assert expected in await trouble(pods)
        server.fault = lambda _: None
        await until(pods, lambda _: server.watching > 0)

    following(pods, do)


def test_nobody_answers(server: ApiServer, tmp_path: Path) -> None:
    """A server that is down, slow or not the one that is meant, and a cluster that is nowhere."""
    elsewhere = follower(server, server="https://127.0.0.1:1")
    assert "the API server at https://127.0.0.1:1: " in why(elsewhere)
    assert "certificate verify failed" in why(follower(server, ca=""))
    nothing = tmp_path / "no.crt"
    nothing.write_text("x")
    assert "ca.crt" not in (said := why(follower(server, ca=str(nothing))))
    assert "expected PEM certificates" in said
    assert "KUBERNETES_SERVICE_HOST is not set" in why(follower(server, server=""))
    release = asyncio.Event()

    def hang(_: dict[str, str]) -> None:
        while not release.is_set():
            with server.changed:
                server.changed.wait(0.01)

    server.fault = hang
    assert "no end of an answer within 0.2 s (list pods)" in why(follower(server, timeout_s=0.2))
    release.set()


def test_in_a_pod(server: ApiServer) -> None:
    """Without a server it is the one that every container is told of."""
    host, port = server.url.removeprefix("https://").split(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    config = KubernetesConfig(token=str(server.token), ca=str(server.ca), period_s=1.0)
    pods = KubernetesPods(config, SchedulerStats(), lambda: 7, environ)

    async def do() -> None:
        assert len(await pods.jobs(UIDS)) == 7

    following(pods, do)
    assert kubernetes._in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1"}) == "https://[fd00::1]:443"
