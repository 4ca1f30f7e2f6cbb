"""How often something was asked beside the tick, and how often in vain."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(slots=True)
class Asked:
    """Questions to one source since the agent began; each counts once in each column at most.

    timed_out: no answer came in time, or the call hangs. refused: what came was a refusal, an error, nothing
    that may be believed, or an answer with parts missing; or nobody could be reached.
    """

    count: int = 0
    refused: int = 0
    timed_out: int = 0


@runtime_checkable
class Asking(Protocol):
    """A source that asks beside the tick."""

    def asked(self) -> tuple[str, Asked] | None:
        """Return the name of what is asked, and its counts as they go on; None: there is nothing to ask."""


def is_timeout(error: BaseException) -> bool:
    """Say whether an error, or what it was made of, is that no answer came in time.

    An error of one's own may say so by an attribute timed_out.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TimeoutError) or getattr(seen, "timed_out", False):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
