"""What Kubernetes' API server says of pods: lists in pages, the events of a watch, and refusals.

https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import msgspec

from joulebook.collector.schedulers.pods import Labels, Pod, told_of
from joulebook.collector.store.scheduled import Scheduled

GONE = 410


class Status(msgspec.Struct):
    """Why something was refused: message in words, code as in HTTP."""

    message: str = ""
    reason: str = ""
    code: int = 0


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str | None = msgspec.field(name="continue", default=None)


class _List(msgspec.Struct):
    metadata: _ListMetadata
    # null where there are none.
    items: list[Pod] | None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _MarkMetadata(msgspec.Struct, rename="camel"):
    resource_version: str


class _Mark(msgspec.Struct):
    metadata: _MarkMetadata


class Page(NamedTuple):
    """A part of all pods. A watch goes on from version; token asks for the next page, "": there is none."""

    pods: dict[str, Scheduled]
    version: str
    token: str


class Event(NamedTuple):
    """What became of a pod; told is None where nothing did, and only the version moves on."""

    version: str
    uid: str = ""
    told: Scheduled | None = None
    is_deletion: bool = False


class RefusedError(Exception):
    """The server ends a watch, and says why."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message or status.reason or str(status.code))
        self.code = status.code


_T = TypeVar("_T")


def parse_page(said: bytes, labels: Labels, now_us: int) -> Page:
    """Return a page of pods. Raises ValueError for what it never says."""
    answer = _decoded(said, _List)
    pods = dict(told_of(pod, labels, now_us) for pod in answer.items or ())
    return Page(pods, answer.metadata.resource_version, answer.metadata.continue_ or "")


def parse_event(said: bytes, labels: Labels, now_us: int) -> Event:
    """Return an event of a watch. Raises RefusedError, and ValueError for what it never says."""
    event = _decoded(said, _Event)
    match event.type:
        case "ADDED" | "MODIFIED" | "DELETED":
            pod = _decoded(bytes(event.object), Pod)
            uid, told = told_of(pod, labels, now_us)
            return Event(pod.metadata.resource_version, uid, told, event.type == "DELETED")
        case "BOOKMARK":
            return Event(_decoded(bytes(event.object), _Mark).metadata.resource_version)
        case "ERROR":
            raise RefusedError(_decoded(bytes(event.object), Status))
    raise ValueError(f"said what it never says (an event {event.type[:100]!r})")


def parse_status(said: bytes) -> Status:
    """Return why something was refused; what is no Status says nothing."""
    try:
        return _decoded(said, Status)
    except ValueError:
        return Status()


def _decoded(said: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(said, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"said what it never says ({error})") from error
