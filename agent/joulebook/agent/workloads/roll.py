"""All members that are cgroups, kept in the order of their paths as they come and go."""

from bisect import bisect_left

from joulebook.agent.workloads.column import Member


class Roll:
    """Members from outside in."""

    def __init__(self) -> None:
        self._paths: list[str] = []
        self.members: list[Member] = []

    def change(self, path: str, member: Member | None) -> None:
        """Put a member in its place, instead of the one that was there; None: take out what is there."""
        place = bisect_left(self._paths, path)
        known = self._paths[place : place + 1] == [path]
        if member is None:
            if known:
                del self._paths[place], self.members[place]
        elif known:
            self.members[place] = member
        else:
            self._paths.insert(place, path)
            self.members.insert(place, member)

    def at_or_below(self, path: str) -> list[Member]:
        """Return the member with this path and those of groups below it, from outside in."""
        first = bisect_left(self._paths, path)
        own = self.members[first : first + 1] if self._paths[first : first + 1] == [path] else []
        # "0" comes after "/"; between a path and those below it may be others: "/a-b" comes before "/a/b".
        return own + self.members[bisect_left(self._paths, f"{path}/") : bisect_left(self._paths, f"{path}0")]
