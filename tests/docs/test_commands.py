"""The commands of the pages about InfluxDB and Grafana run; only addresses and paths are others."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulebook.collector.store.opened import open_store
from tests.servers.influxdb import RunningInflux, influxdb
from tests.servers.programs import free_port, running
from tests.simulated.large import fill

ROOT = Path(__file__).parents[2]
# What only a whole machine has: packages, services, and the users that they make.
_ELSEWHERE = ("apt-get ", "systemctl ", "deploy/install ", "pip install ", "chgrp joulebook ", "chmod ")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(slots=True)
class Reader:
    """Does what a page says, block by block, below a directory and with a server of the test's own."""

    page: str
    directory: Path
    server: RunningInflux
    outputs: list[str] = field(default_factory=list)

    def blocks(self) -> list[tuple[str, str]]:
        """Return the page's blocks with their language, addresses and paths replaced."""
        text = (ROOT / "docs" / self.page).read_text()
        for directory in ("/etc/joulebook", "/etc/grafana", "/var/lib/grafana"):
            text = text.replace(f"{directory}/", f"{self.directory}{directory}/")
            text = re.sub(rf"(?<=[ ]){directory}$", f"{self.directory}{directory}", text, flags=re.MULTILINE)
        text = text.replace("127.0.0.1:8086", f"127.0.0.1:{self.server.port}")
        return [(found[1], found[2]) for found in _BLOCK.finditer(text)]

    @property
    def configuration(self) -> Path:
        """Return joulebook's configuration file."""
        return self.directory / "etc/joulebook/joulebook.toml"

    def run(self, commands: str) -> None:
        """Run a block's commands one after the other; a collector until it listens."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        http = free_port()
        own = {"PATH": path, "JOULEBOOK_CONFIG": str(self.configuration)}
        for name, port in (("HTTP", http), ("GRPC", free_port())):
            own[f"JOULEBOOK__COLLECTOR__{name}"] = f"127.0.0.1:{port}"
        for command in commands.splitlines():
            if command.startswith("joulebook collector"):
                log = self.directory / "collector.log"
                with running(
                    ["env", *(f"{k}={v}" for k, v in own.items()), *shlex.split(command)], http, log
                ):
                    continue
            ended = subprocess.run(
                ["bash", "-euc", command],
                cwd=ROOT,
                env=os.environ | own,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
            self.outputs.append(ended.stdout)

    def configure(self, toml: str) -> None:
        """Write a block to the configuration file."""
        self.configuration.parent.mkdir(parents=True, exist_ok=True)
        self.configuration.write_text(toml)

    def answers(self) -> list[dict[str, object]]:
        """Return what InfluxDB answered so far, each without an error."""
        found = [json.loads(output) for output in self.outputs if output.startswith("{")]
        assert not any("error" in json.dumps(answer) for answer in found), found
        return found


def _book(address: str, credentials: str = "") -> None:
    """Book a few Reports up to now, as agents would have sent them meanwhile."""
    store = open_store(address, credentials=credentials)
    fill(store, nodes=2, reports=3, report_us=10_000_000, now_us=time.time_ns() // 1000)
    store.close()


@pytest.mark.parametrize("page", ["grafana.md", "influxdb.md"])
def test_what_is_not_run_needs_a_whole_machine(page: str) -> None:
    """Commands that are not marked to be run install packages or start services."""
    for language, text in _BLOCK.findall((ROOT / "docs" / page).read_text()):
        assert language in ("sh", "toml", "ini", "")
        if not language:
            assert all(line.startswith(_ELSEWHERE) for line in text.splitlines()), text


def test_influxdb_page(tmp_path: Path) -> None:
    """docs/influxdb.md: the store is set up, a collector starts on it, and the questions have answers."""
    with influxdb(tmp_path / "influxdb") as server:
        reader = Reader("influxdb.md", tmp_path, server)
        reader.configure("")
        shell = [text for language, text in reader.blocks() if language == "sh"]
        setup, credentials, look = shell
        reader.run(setup)
        _book(server.address("joulebook"))
        reader.run(credentials)
        (toml,) = [text for language, text in reader.blocks() if language == "toml"]
        reader.configure(toml)
        reader.run("joulebook config check")
        reader.run(look)
        assert [bool(answer["results"][0]["series"]) for answer in reader.answers()] == [True, True]  # type: ignore[index]


def test_grafana_page(tmp_path: Path) -> None:
    """docs/grafana.md: two users, the store, a look as the reader, and all files where Grafana looks."""
    with influxdb(tmp_path / "influxdb", auth=True) as server:
        reader = Reader("grafana.md", tmp_path, server)
        for kind in ("datasources", "dashboards"):
            (tmp_path / "etc/grafana/provisioning" / kind).mkdir(parents=True)
        users, setup, look, files = [text for language, text in reader.blocks() if language == "sh"]
        reader.run(users)
        (toml,) = [text for language, text in reader.blocks() if language == "toml"]
        reader.configure(toml)
        reader.run(setup)
        _book(server.address("joulebook"), str(tmp_path / "etc/joulebook/influxdb.secret"))
        reader.run(look)
        assert reader.answers()[-1]["results"][0]["series"]  # type: ignore[index]
        reader.run(files)
    there = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.glob("*/**/joulebook/*.json"))
    assert there == [
        f"var/lib/grafana/dashboards/joulebook/{n}.json" for n in ("cluster", "gpu", "job", "node")
    ]
    assert len(list((tmp_path / "etc/grafana/provisioning").glob("*/joulebook.yaml"))) == 2
