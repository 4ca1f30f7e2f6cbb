"""The whole of it on one machine, every part real but the counters and the GPUs, whose truth is known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, expect

from tests.deploy.grafana.site import NAMES, chosen_job, panels_of
from tests.fixtures.nvml.standin import Standin
from tests.servers.alertmanager import Receiver, RunningAlertmanager, alertmanager, receiver
from tests.servers.grafana import Chosen, Shown, ask
from tests.servers.influxdb import RunningInflux, influxdb
from tests.servers.programs import free_port
from tests.simulated.counter import Counter
from tests.simulated.machine import Machine, booted
from tests.system.browser import Watched
from tests.system.servers.slurm.server import Slurm

JOULEBOOK = [sys.executable, "-m", "joulebook.cli.main"]
_PATIENCE_S = 300.0
_NOTHING_THERE = {
    "cluster: Not watched",
    "node: Not watched",
    "node: Disks",
    "node: Disks busy",
    "job: Disk IO",
    # Of a first figure.
    "job: Revision",
}
_TOTALS = {("cluster", "Jobs by energy"), ("cluster", "Accounts other than jobs")}
_AGENT = """[agent]
node = "here"
collector = "127.0.0.1:{grpc}"
procfs = "/host/proc"
cgroupfs = "/host/cgroup"
sysfs = "/srv/sys"
tick_s = 0.2
report_s = 1.0
idle_power_mw = {{ "cpu.0" = 1, "gpu.0" = 60000, "gpu.1" = 60000 }}
"""
_COLLECTOR = """[collector]
http = "127.0.0.1:{http}"
grpc = "127.0.0.1:{grpc}"
store = "{store}"
[alerts]
file = "{directory}/alerts.sqlite"
alertmanagers = ["{alertmanager}"]
evaluate_s = 0.5
resend_s = 1
gpu_held_idle_for_s = 3
"""
_UNIT = """[Service]
Environment=LD_LIBRARY_PATH=/srv/nvml NVML_STANDIN=/srv/nvml/control
"""


class Gpus:
    """Two stand-in GPUs that draw 60 W each, whatever happens, and count it."""

    POWER_MW = 60_000

    def __init__(self, directory: Path) -> None:
        self.standin = Standin(directory, gpus=2)
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._draw)
        self._pids = ["", ""]
        self.energy_mj = 5_000_000
        self._show()
        self._thread.start()

    def _show(self) -> None:
        for gpu in range(2):
            self.standin.set(gpu, energy=self.energy_mj, power=self.POWER_MW, busy=0, compute=self._pids[gpu])

    def _draw(self) -> None:
        began_s, first_mj = time.monotonic(), self.energy_mj
        while not self._halt.wait(0.05):
            self.energy_mj = first_mj + int((time.monotonic() - began_s) * self.POWER_MW)
            self._show()

    def use(self, gpu: int, pid: int) -> None:
        """Have a process on a GPU."""
        self._pids[gpu] = str(pid)

    def stop(self) -> None:
        """Draw nothing from now on."""
        self._halt.set()
        self._thread.join()


@dataclass(slots=True)
class Chain:
    """Everything that runs, and how to ask it."""

    directory: Path
    url: str
    store: str
    machine: Machine
    counter: Counter
    gpus: Gpus
    slurm: Slurm
    alertmanager: RunningAlertmanager
    told: Receiver

    def ask(self, path: str) -> Any:
        """Ask the collector's API."""
        with urlopen(f"{self.url}/api/v1/{path}") as answer:
            return json.load(answer)

    def until(self, holds: Callable[[Any], bool], path: str) -> Any:
        """Ask until the answer is as it should be."""
        deadline_s = time.monotonic() + _PATIENCE_S
        found = None
        while time.monotonic() < deadline_s:
            with suppress(URLError, ConnectionError):
                if holds(found := self.ask(path)):
                    return found
            time.sleep(0.1)
        journal = self.machine.run("journalctl", "--no-pager", "-n", "40", "-u", "joulebook-agent").stdout
        raise AssertionError(f"{path} is still {found}\n{journal}")

    def command(self, *arguments: str) -> Any:
        """Run one of our commands against the collector."""
        environ = os.environ | {"JOULEBOOK_SERVER": self.url}
        ran = subprocess.run(
            [*JOULEBOOK, *arguments, "--json"], env=environ, capture_output=True, text=True, check=True
        )
        return json.loads(ran.stdout)


@pytest.fixture
def chain(machine_tree: Path, slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Bring it all up: InfluxDB, Alertmanager, Slurm, a collector, and an agent that systemd runs."""
    directory = tmp_path_factory.mktemp("chain")
    http, grpc = free_port(), free_port()
    url = f"http://127.0.0.1:{http}"
    with ExitStack() as running:
        influx = running.enter_context(influxdb(directory / "influxdb"))
        store = influx.address("joulebook")
        subprocess.run([*JOULEBOOK, "store", "setup", "--store", store, "--retention", "400d"], check=True)
        told = running.enter_context(receiver())
        manager = running.enter_context(alertmanager(directory / "alertmanager", webhook=told.url))
        config = directory / "collector.toml"
        config.write_text(
            _COLLECTOR.format(
                http=http, grpc=grpc, store=store, directory=directory, alertmanager=manager.url
            )
        )
        collector = subprocess.Popen([*JOULEBOOK, "collector", "--config", str(config)])
        running.callback(_end, collector)
        machine = running.enter_context(booted(machine_tree, directory / "machine", sees_host=True))
        counter = Counter(machine.tree / "srv/sys")
        running.callback(counter.close)
        gpus = Gpus(machine.tree / "srv")
        running.callback(gpus.stop)
        _install_agent(machine, _AGENT.format(grpc=grpc))
        chain = Chain(directory, url, store, machine, counter, gpus, slurm, manager, told)
        chain.until(lambda ledger: ledger["measured_uj"] > 0, "ledger?from=-1h")
        yield chain


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait()


def _install_agent(machine: Machine, config: str) -> None:
    """Do what a fleet tool does: bring the configuration, then run the install script."""
    etc = machine.tree / "etc"
    (etc / "joulebook").mkdir()
    (etc / "joulebook/joulebook.toml").write_text(config)
    own = etc / "systemd/system/joulebook-agent.service.d"
    own.mkdir()
    (own / "standin.conf").write_text(_UNIT)
    machine.run("/srv/joulebook/deploy/install", "agent", "--from", "/srv/wheels")


def test_from_the_meters_to_the_page(chain: Chain, browser: Browser, tmp_path: Path) -> None:
    """Two Slurm jobs are measured, stored, alerted on and shown, to the microjoule."""
    chain.counter.start()
    memory = "--mem=100M"
    burning = f"slurm.{chain.slurm.submit('srun stress-ng --cpu 1 --timeout 600s --quiet', memory)}"
    holding = f"slurm.{chain.slurm.submit('exec sleep 600', memory, '--uid=nobody')}"
    chain.until(lambda found: {job["job"] for job in found["jobs"]} >= {burning, holding}, "jobs")
    # The driver names the process of a job that rests on GPU 0.
    chain.gpus.use(0, chain.slurm.pid_of(holding, "sleep"))

    (firing,) = chain.until(lambda found: found["alerts"], "alerts?state=firing")["alerts"]
    assert firing["rule"] == "gpu_held_idle"
    labels = {"node": "here", "gpu": "gpu.0", "job": holding, "user": "nobody"}
    assert firing["labels"] == labels
    # 60 W, and the counter's steps at both ends, which a busy machine makes late.
    assert firing["wasted_uj"] / firing["observed_s"] == pytest.approx(60e6, rel=0.5)
    chain.told.wait_for(("firing", "GpuHeldIdle"))
    (told,) = chain.alertmanager.alerts()
    assert told["labels"] == labels | {"alertname": "GpuHeldIdle", "severity": "warning"}
    assert float(told["annotations"]["wasted_joules"]) >= firing["wasted_uj"] // 1_000_000
    _shown_on_the_page(chain, browser, holding, tmp_path)

    # It is given back, and resolved for the people who were told.
    chain.slurm.cancel(burning, holding)
    (resolved,) = chain.until(lambda found: found["alerts"], "alerts?state=resolved")["alerts"]
    assert (resolved["id"], resolved["resolution"]) == (firing["id"], "released")
    chain.told.wait_for(("firing", "GpuHeldIdle"), ("resolved", "GpuHeldIdle"))

    # What the meters gave is what is in the books, by account and by domain.
    chain.counter.stop()
    chain.gpus.stop()
    delivered_uj = chain.counter.delivered_uj
    chain.until(lambda found: _uj(found, "cpu") == delivered_uj, "ledger?from=-1h")
    # The agent goes on modelling memory: what is compared is what stands when it is gone.
    chain.machine.run("systemctl", "stop", "joulebook-agent")
    ledger = chain.ask("ledger?from=-1h")
    assert ledger["residual_uj"] == 0
    jobs = {job["job"]: job for job in chain.command("jobs")}
    assert jobs[burning]["by_domain"]["gpu"] == 0
    assert jobs[burning]["by_domain"]["cpu"] > 5 * jobs[holding]["by_domain"]["cpu"]
    assert 0 < resolved["wasted_uj"] <= jobs[holding]["by_domain"]["gpu"]
    assert [alert["state"] for alert in chain.command("alerts", "--job", holding)] == ["resolved"]
    while (totals := _answered_in_grafana(chain, holding)) != _energy_uj(ledger):
        # A last Report may have been on its way; nothing else may change.
        before, ledger = ledger, chain.ask("ledger?from=-1h")
        assert _energy_uj(before) != _energy_uj(ledger), (totals, ledger)


def _energy_uj(ledger: Any) -> dict[str, int]:
    return {each["account"]: each["energy_uj"] for each in ledger["accounts"]}


def _uj(ledger: Any, domain: str) -> int:
    return sum(account["by_domain"][domain] for account in ledger["accounts"])


def _answered_in_grafana(chain: Chain, holding: str) -> dict[str, int]:
    """Have every question of every dashboard answered; return the totals that are shown."""
    server = RunningInflux.server(chain.store)
    now_ms = time.time_ns() // 1_000_000
    chosen = {"node": Chosen(("here",)), "gpu": Chosen(("gpu.0",)), **chosen_job(holding)}
    shown = Shown(now_ms - 3_600_000, now_ms, chosen)
    totals: dict[str, int] = {}
    empty = set()
    for name in NAMES:
        for panel in panels_of(name):
            values: list[Any] = []
            for target in panel["targets"]:
                found = ask(server, shown.question(target["query"], panel.get("interval", "1s")))
                values += [v for series in found for row in series.values for v in row[1:] if v is not None]
                if (name, panel["title"]) in _TOTALS:
                    totals |= {s.tags["account"]: row["energy"] for s in found for row in s.rows()}
            if not values:
                empty.add(f"{name}: {panel['title']}")
    server.close()
    # The made-up /sys has no disks, v1 groups count no IO, and nothing went unwatched.
    assert empty <= _NOTHING_THERE
    return totals


def _shown_on_the_page(chain: Chain, browser: Browser, holding: str, tmp_path: Path) -> None:
    """The page has the jobs, the node, balanced books and the alerts."""
    watched = Watched(browser, chain.url, viewport={"width": 1400, "height": 1200})
    page = watched.page
    expect(page.locator("#summary")).to_contain_text("✓ balanced")
    expect(page.locator("#jobs")).to_contain_text(holding)
    expect(page.locator("#nodes tbody tr").first).to_contain_text("here")
    expect(page.locator("#alerts")).to_contain_text("GPU held but idle")
    expect(page.locator("#alerts")).to_contain_text(holding)
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    watched.close()
