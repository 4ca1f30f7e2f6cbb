"""`joulebook up`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from joulebook.cli.children import Child, ChildEndedError
from joulebook.cli.layers import Configuration
from joulebook.cli.options import FileOption, configuration
from joulebook.cli.sample import toml_value
from joulebook.cli.server import Server, ServerError, understood
from joulebook.cli.terminal import printable
from joulebook.collector.units import power

_TTY_S = 1.0
_LOG_S = 10.0
_LOOK_S = 0.2
_WAITING = "waiting for the first report"
# A line has room for so many accounts.
_SHOWN = 8


@click.command()
@FileOption
@click.option("--http", metavar="HOST:PORT", help="Where to serve the page and the HTTP API.")
@click.option("--grpc", metavar="HOST:PORT", help="Where to serve gRPC.")
@click.option(
    "--state-dir", metavar="DIR", type=click.Path(path_type=Path), help="Where the books and logs are."
)
def up(config: str | None, http: str | None, grpc: str | None, state_dir: Path | None) -> None:
    """Start a collector and an agent on this machine, and show where its power goes, until Ctrl-C."""
    found = configuration(config, {("collector", "http"): http, ("collector", "grpc"): grpc})
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: told.set())
    state = state_dir or _state_dir()
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{state}: {error.strerror}; name another with --state-dir") from error
    try:
        with ExitStack() as running:
            _run(found, config, state, running, told)
    except ChildEndedError as error:
        raise click.ClickException(str(error)) from error


def _run(
    found: Configuration, file: str | None, state: Path, running: ExitStack, told: threading.Event
) -> None:
    options = ["--config", file] if file else []
    collector, addresses = _collector(found, options, state)
    running.callback(collector.stop)
    own = toml_value([*found.agent.own_pids, collector.pid, os.getpid()])
    agent = Child(
        "agent",
        [*options, "--collector", addresses["grpc"]],
        state / "agent.log",
        environ={"JOULEBOOK__AGENT__OWN_PIDS": own, **_live(found), **_spool(found, state)},
    )
    running.callback(agent.stop)
    scheme = "https" if found.collector.tls_certificate else "http"
    url = f"{scheme}://{addresses['http']}"
    click.echo(f"joulebook is at {url} (gRPC {addresses['grpc']}; books and logs in {state})")
    _watch(Server(url, ca=found.agent.tls_ca, timeout_s=5.0), [collector, agent], told)


def _live(found: Configuration) -> dict[str, str]:
    """Have the agent report every tick, for eyes that watch, unless it was told how often."""
    if ("agent", "report_s") in found.origins:
        return {}
    return {"JOULEBOOK__AGENT__REPORT_S": str(found.agent.tick_s)}


def _spool(found: Configuration, state: Path) -> dict[str, str]:
    """Have the agent's spool beside the books, unless it was told where."""
    if ("agent", "spool") in found.origins:
        return {}
    return {"JOULEBOOK__AGENT__SPOOL": str(state.absolute() / "spool")}


def _collector(found: Configuration, options: list[str], state: Path) -> tuple[Child, dict[str, str]]:
    """Start the collector and wait for the addresses that it bound."""
    store = found.collector.store or str(state / "joulebook.duckdb")
    reading, writing = os.pipe()
    where = ["--http", found.collector.http, "--grpc", found.collector.grpc, "--store", store]
    try:
        collector = Child(
            "collector",
            [*options, *where, "--ready-fd", str(writing)],
            state / "collector.log",
            pass_fds=[writing],
        )
    finally:
        os.close(writing)
    with os.fdopen(reading) as pipe:
        line = pipe.readline()
    if not line:
        raise collector.wait_for_end()
    return collector, json.loads(line)


def _watch(server: Server, children: list[Child], told: threading.Event) -> None:
    """Show power by account until told to stop, or a child ends."""
    tty = sys.stdout.isatty()
    show_at = time.monotonic()
    try:
        while not told.wait(_LOOK_S):
            for child in children:
                child.check()
            if time.monotonic() < show_at:
                continue
            line = _now(server)
            show_at = time.monotonic() + (_TTY_S if tty or line == _WAITING else _LOG_S)
            if tty:
                line = f"\r\x1b[2K{line[: shutil.get_terminal_size().columns - 1]}"
            click.echo(line, nl=not tty)
    finally:
        if tty:
            click.echo()


def _now(server: Server) -> str:
    try:
        found = server.get("nodes", limit=1000)
        with understood(server.url):
            return power_line(found["nodes"])
    except ServerError as error:
        return error.message


def power_line(nodes: Iterable[dict[str, Any]]) -> str:
    """Return where the power of nodes goes, in a line: by account, all nodes together."""
    powers: dict[str, int] = {}
    for one in (one for node in nodes for one in node["accounts"]):
        powers[one["account"]] = powers.get(one["account"], 0) + one["power_mw"]
    if not powers:
        return _WAITING
    return f"{power(sum(powers.values()))}:  {'  '.join(_largest(powers))}"


def _largest(powers: dict[str, int]) -> Iterator[str]:
    """Give the accounts that draw most, and what others draw together; none that draws nothing."""
    drawing = sorted((-power_mw, name) for name, power_mw in powers.items() if power_mw)
    for drawn, name in drawing[:_SHOWN]:
        yield f"{printable(name)} {power(-drawn)}"
    if others := drawing[_SHOWN:]:
        yield f"{len(others)} others {power(-sum(drawn for drawn, _ in others))}"


def _state_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/joulebook")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "joulebook"
