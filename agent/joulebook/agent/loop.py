"""When the agent wakes: at ticks, for the run socket, and when jobs come and go."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from joulebook.agent.clock import boot_us
from joulebook.agent.edges import Edges
from joulebook.agent.workloads.runs import RunSocket
from joulebook.agent.workloads.workloads import Workloads

# A manager makes and removes groups in several hierarchies, one after the other: all of it is one edge.
_EDGE_DELAY_NS = 5_000_000


def run(
    tick_s: float,
    tick: Callable[[], None],
    cut: Callable[[], None],
    workloads: Workloads,
    run_socket: RunSocket | None,
) -> None:
    """Tick until told to stop, and at the edges of jobs as long as that costs little."""
    with _stop_signal() as stop_fd, select.epoll() as poll:
        poll.register(stop_fd, select.EPOLLIN)
        if run_socket is not None:
            poll.register(run_socket.fileno(), select.EPOLLIN)
        edges = Edges()
        walk_fd, listening = workloads.fileno(), False
        tick_ns = int(tick_s * 1e9)
        due_ns = time.monotonic_ns() + tick_ns
        edge_ns = 0
        while True:
            if walk_fd >= 0 and not listening and edges.may_be():
                poll.register(walk_fd, select.EPOLLIN)
                listening = True
            next_ns = min(due_ns, edge_ns) if edge_ns else due_ns
            events = poll.poll(max(0.0, (next_ns - time.monotonic_ns()) / 1e9))
            for fd, _ in events:
                if fd == stop_fd:
                    return
                if fd == walk_fd:
                    with edges.spending():
                        if workloads.notice(boot_us()) and not edge_ns:
                            edge_ns = time.monotonic_ns() + _EDGE_DELAY_NS
                elif run_socket is not None:
                    _serve(run_socket, tick, cut, workloads)
            now_ns = time.monotonic_ns()
            if now_ns >= due_ns:
                tick()
                edge_ns = 0
                # Ticks that were slept through are not made up for: the counters have counted.
                due_ns += tick_ns * ((now_ns - due_ns) // tick_ns + 1)
            elif edge_ns and now_ns >= edge_ns:
                edge_ns = 0
                with edges.spending():
                    workloads.tick_at_edge(tick)
            if listening and not edges.may_be():
                # Until there is time for it again ticks alone tell what came and went.
                poll.unregister(walk_fd)
                listening, edge_ns = False, 0


def _serve(
    run_socket: RunSocket, tick: Callable[[], None], cut: Callable[[], None], workloads: Workloads
) -> None:
    for request in run_socket.handle():
        workloads.serve(request, tick)
        # The user waits for the books of what just ended: send what there is.
        cut()


@contextmanager
def _stop_signal() -> Iterator[int]:
    """Yield a descriptor that becomes readable on SIGTERM or SIGINT."""
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
    woken_before = signal.set_wakeup_fd(write_fd)
    try:
        yield read_fd
    finally:
        signal.set_wakeup_fd(woken_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_fd)
        os.close(write_fd)
