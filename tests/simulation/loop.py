"""An event loop in which time passes only when nothing is left to do, and a seed says who goes first.

Callbacks belong to processes: what a process has under way dies with it. Within a process they run in order,
as asyncio promises; between processes in any.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from heapq import heappop, heappush
from random import Random
from typing import Any

import greenlet

# So many steps within one moment are an endless loop: whoever waits does not wait.
_STILL = 1_000_000
_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class CrashError(BaseException):
    """The process that was running is dead; nothing of it may go on."""


class Process:
    """One life of a program. A fuse kills it after so many steps, wherever it is then."""

    def __init__(self, name: str, died: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.alive = True
        self.fuse = -1
        self.ready: deque[_Handle] = deque()
        self._died = died
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)

    def die(self) -> None:
        """Have it end in this very moment."""
        if self.alive:
            self.alive = False
            self.ready.clear()
            self._died()

    def burn(self) -> bool:
        """Count a step; return whether it is the last one, which the caller then lets happen in part."""
        if self.fuse < 0:
            return False
        self.fuse -= 1
        return self.fuse < 0

    def step(self) -> None:
        """Count a step that happens wholly or not at all."""
        if not self.alive:
            raise CrashError
        if self.burn():
            self.die()
            raise CrashError


class _Handle(asyncio.TimerHandle):
    __slots__ = ("process",)
    process: Process


class Loop(asyncio.BaseEventLoop):
    """Runs callbacks of processes; what belongs to none is the world's own."""

    def __init__(self, order: Random) -> None:
        super().__init__()
        self._order = order
        self._now_s = 0.0
        self._world = Process("world")
        self._active: list[Process] = []
        self._timers: list[tuple[float, float, int, _Handle]] = []
        self._count = 0
        self._main = greenlet.getcurrent()
        self.failures: list[str] = []
        # Held to the end of the world, so that nothing of the dead runs when it is collected.
        self.tasks: list[asyncio.Task[Any]] = []
        self.threads: list[greenlet.greenlet] = []

    def time(self) -> float:
        """Return the simulated time in seconds."""
        return self._now_s

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Run a callback after those that its process has waiting."""
        handle = self._handle(self._now_s, callback, args, context)
        self._enqueue(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback at a time; the seed orders those of one moment."""
        handle = self._handle(when, callback, args, context)
        self._count += 1
        heappush(self._timers, (when, self._order.random(), self._count, handle))
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback after a time."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def _handle(
        self, when: float, callback: Callable[..., object], args: Any, context: contextvars.Context | None
    ) -> _Handle:
        context = contextvars.copy_context() if context is None else context
        handle = _Handle(when, callback, args, self, context)
        found: Process | None = context.get(_PROCESS)
        handle.process = found or self._world
        return handle

    def _enqueue(self, handle: _Handle) -> None:
        process: Process = handle.process
        if process.alive:
            if not process.ready:
                self._active.append(process)
            process.ready.append(handle)

    def run_until(self, end_s: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass up to a moment, or until something holds."""
        asyncio._set_running_loop(self)
        steps, at_s = 0, self._now_s
        try:
            while not done():
                steps = steps + 1 if self._now_s == at_s else 0
                at_s = self._now_s
                if steps > _STILL:
                    self.failures.append(f"time stands still at {at_s} s, with ever more to do")
                    return
                if self._active:
                    self._step()
                elif self._timers and self._timers[0][0] <= end_s:
                    when, _, _, handle = heappop(self._timers)
                    self._now_s = max(self._now_s, when)
                    if not handle.cancelled():
                        self._enqueue(handle)
                else:
                    self._now_s = max(self._now_s, end_s)
                    return
        finally:
            asyncio._set_running_loop(None)

    def _step(self) -> None:
        place = self._order.randrange(len(self._active)) if len(self._active) > 1 else 0
        process = self._active[place]
        if not process.ready:
            # It died with work to do.
            self._active.pop(place)
            return
        handle = process.ready.popleft()
        if not process.ready:
            self._active.pop(place)
        if handle.cancelled():
            return
        if process.burn():
            process.die()
            return
        handle._run()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note what nobody caught."""
        error = context.get("exception")
        if not isinstance(error, CrashError):
            self.failures.append(f"{context.get('message')}: {error!r}")

    def spawn(self, process: Process, main: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task of a process; what it raises is a failure."""
        task: asyncio.Task[None] = process.context.copy().run(self.create_task, main)
        task.add_done_callback(self._ended)
        return task

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        """Begin a task, and keep it."""
        task = super().create_task(coro, name=name, context=context)
        self.tasks.append(task)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, CrashError):
            self.call_exception_handler({"message": "task", "exception": error})

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Run a function as in a thread: beside everything else, switching where it pauses."""
        del executor
        future = self.create_future()

        def body() -> None:
            try:
                result = func(*args)
            except CrashError:
                return
            except BaseException as error:
                if not future.done():
                    future.set_exception(error)
                return
            if not future.done():
                future.set_result(result)

        thread = greenlet.greenlet(body, self._main)
        thread.gr_context = contextvars.copy_context()
        self.threads.append(thread)
        self.call_later(self._order.random() * 0.001, thread.switch)
        return future

    def pause(self, length_s: float) -> None:
        """Let time pass in a thread; nothing happens where no thread is running."""
        thread = greenlet.getcurrent()
        if thread is self._main:
            return
        process = _PROCESS.get()
        self.call_later(length_s, thread.switch)
        self._main.switch()
        if process is not None and not process.alive:
            raise CrashError

    def end(self) -> None:
        """Let go of everything, the dead included, without a word."""
        self._timers.clear()
        self._active.clear()
        for thread in self.threads:
            # A thread that paused for ever; its exception ends it wherever it is.
            if not thread.dead:
                with suppress(BaseException):
                    thread.throw(greenlet.GreenletExit)
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            task._log_traceback = False
            if not task.done():
                # It may want to wait for something once more, which nobody will wake it from.
                with suppress(BaseException):
                    task.get_coro().close()
        self.tasks.clear()
        self.threads.clear()
        self.close()
