"""What `joulebook run` and the agent say to each other: one JSON object a packet of SOCK_SEQPACKET.

It imports no contract and no grpc: the client starts in an instant.
"""

from typing import Annotated

import msgspec

MAX_PACKET_BYTES = 64 * 1024

RunId = Annotated[str, msgspec.Meta(pattern=r"^run\.[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")]
Token = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
Text = Annotated[str, msgspec.Meta(max_length=256)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class BeginRun(msgspec.Struct, tag="begin", tag_field="do", forbid_unknown_fields=True, frozen=True):
    """A command is about to begin: `pid`, a child of the sender, waits to be released."""

    id: RunId
    token: Token  # its cgroup, if it has one, is called joulebook-TOKEN
    pid: Annotated[int, msgspec.Meta(gt=0, lt=2**31)]
    name: Text = ""
    user: Text = ""  # taken at its word only from root
    reserved_millicpus: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0


class EndRun(msgspec.Struct, tag="end", tag_field="do", forbid_unknown_fields=True, frozen=True):
    """The command has ended; usage_us is the CPU time of what the client waited for."""

    id: Text  # as the reply gave it
    exit_status: Annotated[int, msgspec.Meta(ge=0, le=255)]
    usage_us: Count


class Reply(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The answer: the id that the run is booked under, or what is wrong."""

    id: str = ""
    error: str = ""
