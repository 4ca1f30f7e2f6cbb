"""Commands of schedulers, run with a time-out and a bound on what they say."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

from joulebook.collector.schedulers.source import NoAnswerError

# Thousands of jobs' worth; whoever says more says something else than was asked.
_MOST_BYTES = 64 << 20
_SHOWN = 200
_LONGEST_END_S = 5.0


class CommandError(NoAnswerError):
    """A command that gave no answer: which, and why."""


class RefusedError(CommandError):
    """A command that ended with an error of its own; said is what it told of it."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


async def answer_of(command: Sequence[str], environ: Mapping[str, str], timeout_s: float) -> str:
    """Return what a command says. Raises CommandError; nothing that it started is left then."""
    name = command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CommandError(f"{name}: cannot be run ({getattr(error, 'strerror', None) or error})") from error
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(timeout_s):
            said, wrong = await asyncio.gather(_read(process, process.stdout), _read(process, process.stderr))
            if len(said) > _MOST_BYTES:
                raise CommandError(f"{name}: said more than {_MOST_BYTES} bytes")
            status = await process.wait()
    except TimeoutError:
        raise CommandError(f"{name}: no answer within {timeout_s:g} s") from None
    finally:
        await _end(process)
    if status:
        text = wrong.decode(errors="replace").strip()
        raise RefusedError(f"{name}: ended with {status} ({text[:_SHOWN]!r})", text)
    return said.decode(errors="replace")


async def _read(process: asyncio.subprocess.Process, stream: asyncio.StreamReader) -> bytes:
    """Return all of a stream, or a little more than is taken; who says more is ended."""
    parts, size = [], 0
    while part := await stream.read(1 << 16):
        if size <= _MOST_BYTES:
            parts.append(part)
            size += len(part)
            if size > _MOST_BYTES:
                _kill(process)
    return b"".join(parts)


def _kill(process: asyncio.subprocess.Process) -> None:
    # It leads a group of its own: what it started goes with it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _end(process: asyncio.subprocess.Process) -> None:
    _kill(process)
    # asyncio takes a process for over when its pipes are: what is still in them has to be read. What left the
    # group may hold them for ever.
    with suppress(TimeoutError):
        async with asyncio.timeout(_LONGEST_END_S):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(1 << 16):
                    pass
            await process.wait()
