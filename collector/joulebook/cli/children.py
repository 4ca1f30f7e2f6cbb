"""Programs that `joulebook up` starts: their logs, their ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

_STOP_S = 15.0
_LOG_LINES = 12


class ChildEndedError(Exception):
    """A program that should run has ended."""


class Child:
    """One of joulebook's own programs in a session of its own, so that it is stopped in order, by us."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        *,
        environ: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as lines:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "joulebook.cli.main", name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=lines,
                env=os.environ | (environ or {}),
                pass_fds=pass_fds,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def check(self) -> None:
        """Raise ChildEndedError with the end of its log where it runs no more."""
        status = self._process.poll()
        if status is not None:
            raise self._ended(status)

    def wait_for_end(self) -> ChildEndedError:
        """Return why it ended, once it has."""
        return self._ended(self._process.wait())

    def _ended(self, status: int) -> ChildEndedError:
        how = f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
        lines = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        said = "".join(f"\n  {line}" for line in lines)
        return ChildEndedError(f"the {self.name} ended {how}; the end of {self._log}:{said}")

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                click.echo(f"joulebook: the {self.name} does not stop; it is killed", err=True)
                self._process.kill()
                self._process.wait()
        click.echo(f"{self.name} stopped", err=True)
