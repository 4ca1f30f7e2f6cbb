"""The run socket: `joulebook run` announces its commands here. It belongs to the sampler's epoll loop."""

import contextlib
import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from joulebook.agent.workloads.runwire import MAX_PACKET_BYTES, BeginRun, EndRun, Reply

_MAX_CLIENTS = 1000
_MAX_CLIENTS_A_USER = 250
_SILENCE_S = 10.0
_MAX_PATH_BYTES = 107


@dataclass(frozen=True, slots=True)
class LostRun:
    """The client went away without an end."""

    id: str


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    pid: int
    uid: int
    since_s: float
    run_id: str = ""


Message: TypeAlias = BeginRun | EndRun | LostRun
_DECODER: msgspec.json.Decoder[BeginRun | EndRun] = msgspec.json.Decoder(BeginRun | EndRun)
_PEER = struct.Struct("iII")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks, and who it is by the kernel's word."""

    message: Message
    pid: int
    uid: int
    reply: Callable[[Reply], None]


class RunSocket:
    """The listening socket and its clients behind one descriptor for the sampler's epoll."""

    def __init__(self, path: Path) -> None:
        """Listen at path, in a directory made if need be. OSError: another agent does, or we may not."""
        if len(os.fsencode(path)) > _MAX_PATH_BYTES:
            raise OSError(
                errno.ENAMETOOLONG, f"a socket's path holds {_MAX_PATH_BYTES} bytes at most", str(path)
            )
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            if _answers(path):
                raise FileExistsError(f"{path}: another joulebook agent listens here; stop it first")
            if path.is_socket():
                path.unlink()
            self._listener.bind(str(path))
            path.chmod(0o666)
            self._listener.listen(128)
        except OSError:
            self._listener.close()
            raise
        self._spare_fd = os.dup(self._listener.fileno())
        self._clients: dict[int, _Client] = {}
        self._epoll = select.epoll()
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """Return the one descriptor that turns readable when handle() has something to do."""
        return self._epoll.fileno()

    def handle(self) -> list[Request]:
        """Return what clients ask now, without waiting; malformed requests are answered here."""
        requests = []
        for fd, _ in self._epoll.poll(0):
            if fd == self._listener.fileno():
                self._accept()
            elif (client := self._clients.get(fd)) and (request := self._receive(client)):
                requests.append(request)
        return requests

    def close(self) -> None:
        """Close everything and remove the socket."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._epoll.close()
        self._listener.close()
        os.close(self._spare_fd)
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        now_s = time.monotonic()
        for idle in [each for each in self._clients.values() if not each.run_id]:
            if now_s - idle.since_s > _SILENCE_S:
                self._drop(idle)
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if error.errno == errno.EMFILE:
                    self._turn_away()
                return
            connection.setblocking(False)
            pid, uid, _ = _PEER.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            )
            client = _Client(connection, pid, uid, now_s)
            of_user = sum(each.uid == uid for each in self._clients.values())
            if len(self._clients) >= _MAX_CLIENTS or (uid and of_user >= _MAX_CLIENTS_A_USER):
                self._answer(client, Reply(error=f"too many runs at once: {of_user} of user {uid}"))
                continue
            self._clients[connection.fileno()] = client
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _turn_away(self) -> None:
        """Refuse one client with the descriptor kept for it: left waiting, it would wake us for ever."""
        os.close(self._spare_fd)
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        self._spare_fd = os.dup(self._listener.fileno())

    def _receive(self, client: _Client) -> Request | None:
        try:
            raw, _, flags, _ = client.connection.recvmsg(MAX_PACKET_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            raw, flags = b"", 0
        if not raw:
            self._drop(client)
            return self._request(client, LostRun(client.run_id)) if client.run_id else None
        try:
            if flags & socket.MSG_TRUNC:
                raise ValueError(f"request over {MAX_PACKET_BYTES} bytes")
            message = _DECODER.decode(raw)
            if isinstance(message, BeginRun) and client.run_id:
                raise ValueError(f"do: {client.run_id} has begun on this connection already")
            if isinstance(message, EndRun) and message.id != client.run_id:
                raise ValueError(f"id: {message.id} has not begun on this connection")
        except ValueError as error:
            self._answer(client, Reply(error=str(error)))
            return self._request(client, LostRun(client.run_id)) if client.run_id else None
        return self._request(client, message)

    def _request(self, client: _Client, message: Message) -> Request:
        def reply(answer: Reply) -> None:
            if isinstance(message, LostRun):
                return
            client.run_id = answer.id if isinstance(message, BeginRun) else ""
            client.since_s = time.monotonic()
            self._answer(client, answer)

        return Request(message, client.pid, client.uid, reply)

    def _answer(self, client: _Client, answer: Reply) -> None:
        with contextlib.suppress(OSError):  # gone: its end of file comes next
            client.connection.send(msgspec.json.encode(answer))
        if answer.error:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._clients.pop(client.connection.fileno(), None)
        client.connection.close()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
