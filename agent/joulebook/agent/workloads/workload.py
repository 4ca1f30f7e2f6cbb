"""What a workload is, and what a recogniser says about a cgroup's path."""

import hashlib
import pwd
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from joulebook.v1 import report_pb2

WorkloadKind: TypeAlias = report_pb2.WorkloadKind.ValueType

JOB = report_pb2.WORKLOAD_KIND_JOB
SYSTEM = report_pb2.WORKLOAD_KIND_SYSTEM
AGENT = report_pb2.WORKLOAD_KIND_AGENT

# Of an id, a name or a user. What is longer in an id is told apart by more than its beginning.
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Workload:
    """Something whose use is counted as one, as in the contract.

    parent is the id of what contains it, gpus the domains of the GPUs that it holds, packages the CPU
    packages that its cpuset lets it run on (none: all).
    """

    id: str
    kind: WorkloadKind
    source: str
    name: str = ""
    user: str = ""
    parent: str = ""
    reserved_millicpus: int = 0
    reserved_memory_bytes: int = 0
    start_unix_us: int = 0
    gpus: tuple[str, ...] = ()
    # What part of each of them it holds, where one is divided; empty: all whole.
    gpu_shares_ppm: tuple[int, ...] = ()
    packages: tuple[int, ...] = ()
    # The job that it is a part of, where one stands in several places; empty: its id is the job's.
    job: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a cgroup is: a workload or not, and whether others are to be looked for inside it."""

    workload: Workload | None = None
    descend: bool = False


def told(workload: Workload) -> Workload:
    """Return a workload as it can be told: names of directories and users may hold anything at all.

    An id is 1 to 255 printable ASCII characters, a name or user of as many printable ones.
    """
    id_ = "".join(c if " " <= c <= "~" else _spelled(c) for c in workload.id)
    if len(id_) > _LONGEST:
        # Two that begin alike stay two.
        digest = hashlib.blake2b(id_.encode(), digest_size=8).hexdigest()
        id_ = f"{id_[: _LONGEST - 17]}-{digest}"
    name, user = (
        "".join(c if c.isprintable() else _spelled(c) for c in text)[:_LONGEST]
        for text in (workload.name, workload.user)
    )
    if (id_, name, user) == (workload.id, workload.name, workload.user):
        return workload
    return replace(workload, id=id_, name=name, user=user)


def _spelled(character: str) -> str:
    # A byte that is no UTF-8 is a surrogate here.
    raw = character.encode(errors="surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in raw)


IGNORE = Verdict()
DESCEND = Verdict(descend=True)


def user_name(uid: int) -> str:
    """Return the user's name, or the number where the system knows none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass(frozen=True)
class Place:
    """A cgroup's path below its hierarchy's root ("/a/b"), and what recognisers may ask about it."""

    path: str
    user_name: Callable[[int], str] = user_name
    job_cgroups: tuple[str, ...] = ()

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The path's components, outermost first."""
        return tuple(self.path.strip("/").split("/"))


Recogniser: TypeAlias = Callable[[Place], Verdict | None]
