"""Agents with meters of known truth, each in a network of its own, collectors, and their store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.servers.programs import free_port
from tests.simulated.counter import Counter
from tests.system.chaos.machine import Network, SmallDisk
from tests.system.chaos.stores import STORES

_JOULEBOOK = [sys.executable, "-m", "joulebook.cli.main"]
_PATIENCE_S = 600.0
_SPOOL_KIB = 512


class Program:
    """One of ours: it can be killed and started again, and its log goes on."""

    def __init__(
        self, command: list[str], log: Path, environment: dict[str, str], may_end: str | None = None
    ) -> None:
        self._command, self._log, self._may_end = command, log, may_end
        self.killed = 0
        self._environment = os.environ | environment
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, where it does not run."""
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def end(self, number: signal.Signals) -> int:
        """Send it a signal and wait for its end."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        self.killed += number == signal.SIGKILL
        return process.wait()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have it stand still while the block runs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Make sure that it runs if it should; without its store it may end, and is started again."""
        if self._process is None or self._process.poll() is None:
            return
        last = self.said().rstrip().rpartition("\n")[2]
        if self._may_end is None or self._may_end not in last:
            raise AssertionError(f"{self._command} ended by itself:\n{self.said()[-3000:]}")
        self._process = None
        self.start()

    def said(self) -> str:
        """Return its log."""
        return self._log.read_text(errors="replace")


class Node:
    """An agent, its meter, its network and the disk of its spool."""

    def __init__(self, number: int, directory: Path, ports: list[int]) -> None:
        self.name = f"n{number}"
        directory.mkdir()
        self.counter = Counter(directory / "sys")
        self.network = Network(number)
        self.disk = SmallDisk(directory / "disk", _SPOOL_KIB)
        environment = {
            "JOULEBOOK__AGENT__SOCKET": f"{directory}/agent.sock",
            "JOULEBOOK__AGENT__SPOOL": f"{directory}/disk/spool",
            "JOULEBOOK__AGENT__SPOOL_REPLAY_REPORTS_PER_S": "1000",
            "JOULEBOOK__AGENT__TICK_S": "0.1",
            "JOULEBOOK__AGENT__REPORT_S": "0.3",
            "JOULEBOOK__AGENT__IDLE_POWER_MW": '{"cpu.0" = 1}',
        }
        where = ",".join(f"{self.network.collector_host}:{port}" for port in ports)
        # nsenter becomes the agent: a signal to it reaches the agent itself.
        command = [*self.network.inside, *_JOULEBOOK, "agent", f"--collector={where}"]
        command += [f"--sysfs={directory}/sys", f"--node={self.name}"]
        self.agent = Program(command, directory / "agent.log", environment)

    def close(self) -> None:
        """End what is left."""
        self.counter.close()
        with suppress(AssertionError):
            self.agent.end(signal.SIGKILL)
        self.network.close()
        self.disk.close()


class Fleet:
    """All of it; what is asked of it is asked until it holds."""

    def __init__(self, directory: Path, *, store: str, nodes: int) -> None:
        self.store = STORES[store](directory)
        self._http = [free_port() for _ in range(self.store.collectors)]
        grpc = [free_port() for _ in self._http]
        self.collectors = [
            Program(
                [
                    *(*_JOULEBOOK, "collector", "--insecure", f"--store={self.store.name}"),
                    *(f"--http=127.0.0.1:{http}", f"--grpc=0.0.0.0:{port}"),
                ],
                directory / f"collector{number}.log",
                self.store.environment | {"JOULEBOOK__ALERTS__FILE": f"{directory}/alerts{number}.sqlite"},
                self.store.away,
            )
            for number, (http, port) in enumerate(zip(self._http, grpc, strict=True))
        ]
        self.nodes = [Node(number, directory / f"n{number}", grpc) for number in range(1, nodes + 1)]
        for node in self.nodes:
            self.until(lambda n=node: self.booked_uj(n) is not None)  # type: ignore[misc]
            node.counter.start()

    def ask(self, path: str) -> Any:
        """Ask a collector that answers; None where none does."""
        for http in self._http:
            with (
                suppress(URLError, ConnectionError, TimeoutError),
                urlopen(f"http://127.0.0.1:{http}/api/v1/{path}", timeout=60) as answer,
            ):
                return json.load(answer)
        return None

    def ledger(self, node: Node) -> Any:
        """Return a node's books."""
        return self.ask(f"ledger?from=-1d&node={node.name}")

    def booked_uj(self, node: Node) -> int | None:
        """Return what is booked of a node; None before its first Report, and where nobody answers."""
        ledger = self.ledger(node)
        if not ledger or not ledger["accounts"]:
            return None
        return sum(int(account["by_domain"]["cpu"]) for account in ledger["accounts"])

    def until(self, holds: Callable[[], bool], every_s: float = 0.1) -> None:
        """Wait until something holds; what ends by itself meanwhile is a failure."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while not holds():
            for program in (*self.collectors, *(node.agent for node in self.nodes)):
                program.check()
            if time.monotonic() > deadline_s:
                logs = [p.said()[-1500:] for p in (*self.collectors, *(n.agent for n in self.nodes))]
                raise AssertionError("it never came about:\n" + "\n---\n".join(logs))
            time.sleep(every_s)

    def go_on(self) -> None:
        """Wait until what every meter gave up to now is booked."""
        goals = [(node, node.counter.delivered_uj) for node in self.nodes]
        self.until(lambda: all((self.booked_uj(node) or 0) >= goal_uj for node, goal_uj in goals))

    def settle(self) -> list[str]:
        """Have all that meters gave booked, and what keeps it killed; return what is not as it must be."""
        # While meters go on: agents do not believe one that stands still for a minute, and books take longer
        # on a busy machine.
        for node in self.nodes:
            node.counter.rest()
        taken = self._waiting()
        # Not often: the collector stands still while it is looked at.
        self.until(lambda: not taken & self._waiting(), every_s=5.0)
        self.go_on()
        for node in self.nodes:
            node.counter.stop()
        self.go_on()
        self.store.kill()
        for collector in self.collectors:
            collector.end(signal.SIGKILL)
        self.store.start()
        for collector in self.collectors:
            collector.start()
        self.until(lambda: all(self.booked_uj(node) is not None for node in self.nodes))
        problems = []
        for node in self.nodes:
            ledger = self.ledger(node)
            booked_uj = sum(account["by_domain"]["cpu"] for account in ledger["accounts"])
            if booked_uj != node.counter.delivered_uj:
                by_account = {account["account"]: account["energy_uj"] for account in ledger["accounts"]}
                off = f"{booked_uj} µJ booked of {node.counter.delivered_uj}, {ledger['coverage']}"
                problems.append(f"{node.name}: {off}: {by_account}")
            if ledger["residual_uj"]:
                problems.append(f"{node.name}: {ledger['residual_uj']} µJ off balance")
            if any(account["energy_uj"] < 0 for account in ledger["accounts"]):
                problems.append(f"{node.name}: an account is below 0")
        return problems

    def _waiting(self) -> set[int]:
        with ExitStack() as still:
            for collector in self.collectors:
                still.enter_context(collector.stopped())
            return self.store.waiting()

    def killed(self) -> dict[str, int]:
        """Return how many of each kind were killed with -9."""
        return {
            "agents": sum(node.agent.killed for node in self.nodes),
            "collectors": sum(collector.killed for collector in self.collectors),
            "servers": self.store.killed,
        }

    def close(self) -> None:
        """End what is left."""
        for node in self.nodes:
            node.close()
        for collector in self.collectors:
            with suppress(AssertionError):
                collector.end(signal.SIGKILL)
        self.store.close()
