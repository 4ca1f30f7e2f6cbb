"""An admin socket such as Ceph's daemons have, that answers as the test says."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Answer = Callable[[socket.socket], None]


@contextmanager
def admin_socket(path: Path, answer: Answer) -> Iterator[list[bytes]]:
    """Answer at a socket as a daemon does; yield the commands that came."""
    commands: list[bytes] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(60)
                    try:
                        commands.append(connection.recv(4096))
                        answer(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield commands
        finally:
            # Wakes accept(), which a close alone would not.
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(60)
