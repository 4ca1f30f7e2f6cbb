"""What is said to an agent whose message is not taken."""

from __future__ import annotations

import grpc


class RefusalError(Exception):
    """A message that is refused: the status code, and what was wrong with what."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> RefusalError:
    """Return a refusal of something that can never be taken."""
    return RefusalError(grpc.StatusCode.INVALID_ARGUMENT, message)
