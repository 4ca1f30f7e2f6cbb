"""The cgroup directories that are workloads, kept up to date by inotify, or by looking again."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from joulebook.agent.source import SUSPECT, WORKING, Finding
from joulebook.agent.workloads.inotify import Event, Inotify
from joulebook.agent.workloads.workload import Verdict, Workload

_RESCAN_US = 5_000_000

_FIXES = {
    errno.ENOSPC: "sysctl fs.inotify.max_user_watches=1048576",
    errno.EMFILE: "sysctl fs.inotify.max_user_instances=1024",
}


class Walk:
    """Looks through one or two hierarchies (v1: CPU time and memory), as far down as verdicts say."""

    def __init__(
        self,
        roots: Sequence[Path],
        verdict: Callable[[str], Verdict],
        open_inotify: Callable[[], Inotify] = Inotify,
    ) -> None:
        self._roots = roots
        self._verdict = verdict
        self._inotify: Inotify | None = None
        self._error: OSError | None = None
        try:
            self._inotify = open_inotify()
        except OSError as error:
            self._error = error
        # Directories looked into (place of the root, path) with their watch, 0 being none; and back.
        self._watches: dict[tuple[int, str], int] = {}
        self._watched: dict[int, tuple[int, str]] = {}
        self._places: dict[str, set[int]] = {}
        self._scanned_us: int | None = None
        self._touched: dict[str, bool] = {}
        self._verdicts: dict[str, Verdict] = {}
        self.found: dict[str, Workload] = {}
        # What the first hierarchy, that of CPU time, did since the last refresh: directories looked into and
        # whether each is new, directories that came, those that went with the boot clock's time, workloads
        # that went.
        self.opened: dict[str, bool] = {}
        self.born: set[str] = set()
        self.died: list[tuple[str, int]] = []
        self.left: dict[str, Workload] = {}
        # All directories below each one looked into, workloads or not; whether all was looked for anew.
        self.below: dict[str, set[str]] = {}
        self.scanned = False

    def finding(self) -> Finding:
        """Say how new workloads come to notice."""
        if self._error is None:
            return Finding("workloads.inotify", WORKING)
        fix = _FIXES.get(self._error.errno or 0, "")
        return Finding(
            "workloads.inotify",
            SUSPECT,
            f"{self._error.strerror}: new workloads are looked for every {_RESCAN_US // 1_000_000} s",
            fix,
        )

    def fileno(self) -> int:
        """Return the descriptor that turns readable when something came or went; -1: there is none."""
        return self._inotify.fileno() if self._inotify else -1

    def notice(self, now_us: int) -> frozenset[str]:
        """Take up what happened without waiting for a refresh; return the paths that it touched."""
        touched: dict[str, bool] = {}
        before = len(self.died)
        for event in self._inotify.events() if self._inotify else ():
            if event.overflow:
                self._scanned_us = None
            self._take(event, touched, now_us)
        for path, fresh in touched.items():
            self._touched[path] = fresh
        return frozenset(touched) | {path for path, _ in self.died[before:]}

    def refresh(self, now_us: int) -> dict[str, bool]:
        """Return the paths to look at again, and whether what is there surely began after the last call."""
        self.notice(now_us)
        self.scanned = self._scanned_us is None or bool(
            self._error and now_us - self._scanned_us >= _RESCAN_US
        )
        if self.scanned:
            self._scan(self._touched, now_us)
            self._scanned_us = now_us
        touched, self._touched = self._touched, {}
        return touched

    def forget_past(self) -> None:
        """Begin an interval: what opened, died and left so far was dealt with."""
        self.opened, self.born, self.died, self.left = {}, set(), [], {}
        self._verdicts = {}

    def close(self) -> None:
        """Stop watching."""
        if self._inotify:
            self._inotify.close()

    def _take(self, event: Event, touched: dict[str, bool], now_us: int) -> None:
        if (place := self._watched.get(event.watch)) is None:
            return
        root, above = place
        path = f"{above}/{event.name}"
        if event.removed:
            if root == 0:
                self.below.get(above, set()).discard(path)
                self.died.append((path, now_us))
            self._leave(root, path, touched)
        elif event.made:
            if root == 0:
                self.below.setdefault(above, set()).add(path)
                self.born.add(path)
            self._enter(root, path, touched, fresh=True)

    def _scan(self, touched: dict[str, bool], now_us: int) -> None:
        """Look everywhere. What comes to light may be old; what was known may be another by now."""
        if self._inotify:
            self._error = None
        before, below = self.found, self.below
        self.found, self._places, self.below = {}, {}, {}
        kept = self._watches
        self._watches = {}
        for root, directory in enumerate(self._roots):
            if directory.is_dir():
                self._look_into(root, "", touched, fresh=False)
        for place, old in kept.items():
            if self._watches.get(place) != old:
                self._forget(old)
        for path, workload in before.items():
            touched.setdefault(path, False)
            if path not in self.found:
                self.left[path] = workload
        for path, known in below.items():
            self.died += [(each, now_us) for each in known - self.below.get(path, set())]

    def _enter(self, root: int, path: str, touched: dict[str, bool], *, fresh: bool) -> None:
        # Managers make a group in each hierarchy, one after the other.
        verdict = self._verdicts.get(path)
        if verdict is None:
            verdict = self._verdicts[path] = self._verdict(path)
        if verdict.workload is not None:
            self.found[path] = verdict.workload
            self._places.setdefault(path, set()).add(root)
            touched[path] = fresh or touched.get(path, False)
        if verdict.descend:
            self._look_into(root, path, touched, fresh=fresh)

    def _look_into(self, root: int, path: str, touched: dict[str, bool], *, fresh: bool) -> None:
        directory = self._roots[root] / path.lstrip("/")
        self._watch(root, path, directory)
        # Listed after the watch is set: what was made before it has no event.
        try:
            with os.scandir(directory) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return  # removed again already
        if root == 0:
            self.below[path] = {f"{path}/{name}" for name in names}
            self.born |= self.below[path]
            self.opened[path] = fresh
        for name in names:
            self._enter(root, f"{path}/{name}", touched, fresh=fresh)

    def _watch(self, root: int, path: str, directory: Path) -> None:
        watch = 0
        if self._inotify:
            try:
                watch = self._inotify.watch(directory)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    self._error = error
        if (old := self._watches.get((root, path), 0)) != watch:
            self._forget(old)
        self._watches[root, path] = watch
        if watch:
            self._watched[watch] = (root, path)

    def _leave(self, root: int, path: str, touched: dict[str, bool]) -> None:
        gone = [path]
        if (root, path) in self._watches:
            below = f"{path}/"
            gone += [each for each in self.found if each.startswith(below)]
            for place in [each for each in self._watches if each[0] == root and _within(each[1], path)]:
                self._forget(self._watches.pop(place))
                if root == 0:
                    self.below.pop(place[1], None)
        for each in gone:
            if root not in (places := self._places.get(each, set())):
                continue
            places.discard(root)
            touched[each] = False
            if not places:
                del self._places[each]
                self.left[each] = self.found.pop(each)

    def _forget(self, watch: int) -> None:
        if self._inotify and watch in self._watched:
            del self._watched[watch]
            self._inotify.forget(watch)


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith(f"{outer}/")
