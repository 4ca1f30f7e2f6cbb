"""Both programs as services of a real systemd: installed, sandboxed, killed, hung, removed."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.nvml.standin import Standin
from tests.simulated.machine import Machine, booted
from tests.system.needs import need
from tests.system.services import AGENT, COLLECTOR, LEDGER, WATCHDOG, Node

UNITS = Path(__file__).parents[2] / "deploy/systemd"
INSTALL = "/srv/joulebook/deploy/install"


@pytest.fixture(scope="module")
def machine(machine_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Boot a machine that has the deploy scripts and wheels, as a fleet tool would bring them."""
    with booted(machine_tree, tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture(scope="module")
def installed(machine: Machine) -> dict[str, str]:
    """Install the agent twice, the collector, and the agent beside it; return what each said."""
    said = {
        name: machine.run(INSTALL, part, "--from", "/srv/wheels").stdout
        for name, part in (
            ("first", "agent"),
            ("again", "agent"),
            ("collector", "collector"),
            ("beside", "agent"),
        )
    }
    said["sample"] = (machine.tree / "etc/joulebook/joulebook.toml").read_text()
    return said


@pytest.fixture(scope="module")
def node(machine: Machine, installed: dict[str, str]) -> Iterator[Node]:
    """Return the machine with both services and a counter that runs."""
    del installed
    node = Node(machine)
    node.until(lambda ledger: ledger["measured_uj"] > 0)
    node.counter.start()
    yield node
    node.counter.close()


def _cpu_uj(ledger: Any, account: str = "") -> int:
    return sum(a["by_domain"]["cpu"] for a in ledger["accounts"] if not account or a["account"] == account)


def _caught_up(node: Node) -> Callable[[Any], bool]:
    """Return what holds when all that the counter gave up to now is booked."""
    goal_uj = node.counter.delivered_uj
    return lambda ledger: _cpu_uj(ledger) >= goal_uj


@pytest.mark.parametrize("unit", [AGENT, COLLECTOR])
def test_units_keep_their_services_in_a_sandbox(unit: str) -> None:
    """systemd's own judgement of what the services may do stays at 2.5 of 10 or below."""
    need("" if shutil.which("systemd-analyze") else "systemd-analyze")
    judge = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=25"]
    judged = subprocess.run(
        [*judge, str(UNITS / f"{unit}.service")], capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_install_says_what_it_does_and_is_done_once(installed: dict[str, str]) -> None:
    """The first run installs and starts; the second changes nothing and says so; the sample is in place."""
    for line in ("wrote /etc/joulebook/joulebook.toml", f"enabled {AGENT}", f"started {AGENT}"):
        assert line in installed["first"].splitlines()
    assert installed["again"] == f"{AGENT} is installed and runs; nothing changed\n" == installed["beside"]
    assert f"started {COLLECTOR}" in installed["collector"]
    # The agent now runs from the environment that holds both.
    assert f"restarted {AGENT}" in installed["collector"]
    assert "[agent]\n# Name in the books" in installed["sample"]


@pytest.mark.parametrize("unit", [AGENT, COLLECTOR])
def test_systemd_has_nothing_to_say_about_the_units(
    machine: Machine, installed: dict[str, str], unit: str
) -> None:
    """systemd-analyze verify finds no fault where they are installed."""
    del installed
    verified = machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{unit}.service")
    assert (verified.stdout, verified.stderr) == ("", "")


def test_services_have_no_more_rights_than_they_need(node: Node) -> None:
    """Both run as joulebook, the agent with the capability that opens RAPL's files."""
    for unit, capabilities in ((AGENT, 1 << 2), (COLLECTOR, 0)):
        pid = node.show(unit, "MainPID")
        status = node.machine.run("cat", f"/proc/{pid}/status").stdout
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == capabilities
        assert facts["NoNewPrivs"] == "1"
        uid = node.machine.run("id", "-u", "joulebook").stdout.strip()
        assert facts["Uid"].split("\t") == [uid] * 4
    store = node.machine.run(
        "stat", "-c", "%U %a", "/var/lib/joulebook", "/var/lib/joulebook/joulebook.duckdb"
    )
    assert store.stdout == "joulebook 700\njoulebook 600\n"
    spool = node.machine.run(
        "stat", "-c", "%U %a", "/var/lib/joulebook/spool", "/var/lib/joulebook/spool/lock"
    )
    assert spool.stdout == "joulebook 700\njoulebook 600\n"


def test_sandboxed_agent_measures_everything(node: Node) -> None:
    """It reads a counter of mode 0400, and other users' processes and groups, and tells how it is."""
    ledger = node.until(lambda found: _cpu_uj(found) > 1_000_000)
    assert ledger["residual_uj"] == 0
    # Under its host's name it was known before its configuration was changed.
    (found,) = (each for each in node.ask("nodes")["nodes"] if each["node"] == "here")
    assert {d["domain"]: d["source"] for d in found["domains"]}["cpu.0"] == "rapl"
    node.until(
        lambda _: "measuring here every 0.1 s, streaming to 127.0.0.1:8461" in node.show(AGENT, "StatusText")
    )
    node.until(lambda _: "1 agents connected" in node.show(COLLECTOR, "StatusText"))


def test_any_user_books_a_command(node: Node) -> None:
    """`joulebook run` of a user without rights reaches the agent's socket and prints the job's energy."""
    ran = node.machine.run("joulebook", "run", "--json", "--", "sleep", "0.3", user="games")
    job = json.loads(ran.stdout)
    assert (ran.stderr, job["user"]) == ("", "games")
    # A machine under load may skip a tick; without the agent all of it would be missing.
    assert job["coverage"]["missing"] < 1
    assert job["energy_uj"] > 0


def test_held_gpus_are_known_with_the_capability(node: Node) -> None:
    """With held-gpus.conf a user's command has the GPU that its environment names; without it nobody has."""
    machine = node.machine
    standin = Standin(machine.tree / "srv", gpus=1)
    (standin.directory / "control").chmod(0o666)
    environ = {name: value.replace(str(machine.tree), "") for name, value in standin.environ.items()}
    unit = "[Service]\nEnvironment=" + " ".join(f"{name}={value}" for name, value in environ.items())
    held_gpus = (machine.tree / "srv/joulebook/deploy/systemd/held-gpus.conf").read_text()
    # The GPU draws 5 J while the command rests.
    rest = "sleep 1; echo 0.energy $1 >>/srv/nvml/control; sleep 3"
    for number, added in enumerate(("", held_gpus), start=1):
        node.change(AGENT, f"{WATCHDOG}{unit}\n{added}")
        command = [
            "joulebook",
            "run",
            "--json",
            "--",
            "sh",
            "-c",
            rest,
            "sh",
            f"{1_000_000 + 5_000 * number}",
        ]
        ran = machine.run("env", "CUDA_VISIBLE_DEVICES=0", *command, user="games")
        assert json.loads(ran.stdout)["by_domain"]["gpu"] == (5_000_000 if added else 0)
    node.change(AGENT, WATCHDOG)
    node.until(_caught_up(node))


def test_kills_lose_nothing(node: Node) -> None:
    """After kill -9 systemd starts either again; every µJ is booked, what nobody watched as such."""
    for unit in (COLLECTOR, AGENT):
        before = int(node.show(unit, "NRestarts"))
        booked_uj = _cpu_uj(node.until(lambda _: True), "unattributed")
        node.machine.run("systemctl", "kill", "--signal=KILL", unit)
        node.wait_for_restart(unit, before)
        ledger = node.until(_caught_up(node))
        assert ledger["residual_uj"] == 0
        gap_uj = _cpu_uj(ledger, "unattributed") - booked_uj
        # What was given while the agent was away; nothing where only the collector was.
        assert gap_uj > 0 if unit == AGENT else gap_uj == 0


@pytest.mark.parametrize("unit", [AGENT, COLLECTOR])
def test_hung_service_is_killed_and_started_again(node: Node, unit: str) -> None:
    """A process that stands still gives no sign of life: systemd ends it with a trace and starts another."""
    before = int(node.show(unit, "NRestarts"))
    node.machine.run("systemctl", "kill", "--signal=STOP", unit)
    node.wait_for_restart(unit, before)
    log = node.machine.run("journalctl", "--no-pager", "-u", unit).stdout
    assert "Watchdog timeout" in log
    assert "most recent call first" in log
    ledger = node.until(_caught_up(node))
    assert ledger["residual_uj"] == 0


def test_books_are_exact_at_the_end(node: Node) -> None:
    """Stopped in order, the agent hands over its last readings: what the counter gave is what is booked."""
    node.counter.stop()
    node.until(lambda found: _cpu_uj(found) == node.counter.delivered_uj)
    node.machine.run("systemctl", "stop", AGENT)
    ledger = node.ask(LEDGER)
    assert (ledger["residual_uj"], _cpu_uj(ledger)) == (0, node.counter.delivered_uj)
    assert all(account["energy_uj"] >= 0 for account in ledger["accounts"])
    assert node.show(AGENT, "Result") == "success"
    node.machine.run("systemctl", "start", AGENT)


def _install(machine: Machine, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return machine.run(*options.pop("before", ()), INSTALL, *arguments, check=False, **options)


@pytest.mark.parametrize(
    ("arguments", "before", "user", "expected"),
    [
        (["agent"], [], "games", "not root"),
        (["agent", "--from", "/nowhere"], [], "", "/nowhere: expected a checkout, a wheel or a directory"),
        (["agent", "--from", "/nowhere.whl"], [], "", "/nowhere.whl: no such wheel"),
        (["agent", "--from", "/etc"], [], "", "/etc: expected one joulebook-*.whl there, found 0"),
        (["agent", "--from"], [], "", "--from: expected a path after it"),
        (["agent", "--purge"], [], "", "--purge: goes only with --uninstall"),
        (["agent", "--form"], [], "", "--form: unknown option"),
        (["agents"], [], "", "usage:"),
        (
            ["agent", "--from", "/srv/wheels"],
            ["env", "PYTHON=/usr/bin/false"],
            "",
            "no Python 3.11 or later with venv found",
        ),
    ],
)
def test_install_refuses(
    machine: Machine,
    installed: dict[str, str],
    arguments: list[str],
    before: list[str],
    user: str,
    expected: str,
) -> None:
    """What keeps it from installing is told in a line, and the status is not 0."""
    del installed
    ran = _install(machine, *arguments, before=before, user=user)
    assert expected in ran.stderr
    assert ran.returncode in (1, 2)
    assert ran.stdout == ""


def test_install_needs_systemd(machine: Machine) -> None:
    """Where no systemd runs it says so, and touches nothing."""
    ran = subprocess.run(
        ["chroot", str(machine.tree), INSTALL, "agent"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "systemd does not run here" in ran.stderr


def test_faulty_configuration_is_told_before_anything_restarts(node: Node) -> None:
    """A fault in the configuration is named by the install, and the running service runs on."""
    config = node.machine.tree / "etc/joulebook/joulebook.toml"
    sound = config.read_text()
    config.write_text(sound.replace("tick_s", "tik_s"))
    pid = node.show(AGENT, "MainPID")
    ran = _install(node.machine, "agent", "--from", "/srv/wheels")
    config.write_text(sound)
    assert ran.returncode == 1
    assert "agent.tik_s: unknown key; did you mean 'tick_s'?" in ran.stderr
    assert node.show(AGENT, "MainPID") == pid


def test_uninstall_keeps_books_and_purge_removes_all(node: Node) -> None:
    """The agent goes, the collector stays; it goes, the books stay; purged, nothing is left."""
    machine = node.machine
    removed = [f"/etc/systemd/system/{AGENT}.service.d", f"/etc/systemd/system/{COLLECTOR}.service.d"]
    machine.run("rm", "-r", *removed)
    ran = _install(machine, "agent", "--uninstall", "--purge")
    assert f"{COLLECTOR} is installed here" in ran.stderr
    assert node.show(COLLECTOR, "ActiveState") == "active"
    assert node.show(AGENT, "LoadState") == "not-found"
    ran = _install(machine, "collector", "--uninstall")
    assert ran.returncode == 0
    assert not (machine.tree / "opt/joulebook").exists()
    assert (machine.tree / "var/lib/joulebook/joulebook.duckdb").exists()
    assert (machine.tree / "etc/joulebook/joulebook.toml").exists()
    ran = _install(machine, "collector", "--uninstall")
    assert ran.stdout == f"{COLLECTOR} is not installed; nothing changed\n"
    assert _install(machine, "collector", "--uninstall", "--purge").returncode == 0
    left = machine.run("find", "/etc", "/opt", "/usr/local", "/var/lib", "/run", "-name", "joulebook*")
    assert left.stdout == ""
    assert machine.run("getent", "passwd", "joulebook", check=False).returncode == 2
