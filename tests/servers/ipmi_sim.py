"""OpenIPMI's BMC simulator on loopback, with DCMI by a plugin of ours and two watt sensors."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.programs import program

_HERE = Path(__file__).parent / "ipmi_sim"
_HEADER = Path("/usr/include/OpenIPMI/serv.h")
# freeipmi.conf(5): the simulator has a habit that several BMCs have.
CREDENTIALS = "username admin\npassword secret\nworkaround-flags opensesspriv\n"


@dataclass(slots=True)
class Bmc:
    """A BMC that runs: its address, its user's credentials, and what its sensors show."""

    address: str
    credentials: Path
    directory: Path
    pid: int

    def dcmi_w(self, current_w: int) -> None:
        """Have DCMI tell a power from now on."""
        self._write("dcmi_watts", f"{current_w} 90 320 200\n")

    def sensors_w(self, whole_w: int, supply_w: int) -> None:
        """Have the sensors show powers, once the simulator polls them."""
        self._write("watts1", f"{whole_w}\n")
        self._write("watts2", f"{supply_w}\n")

    def hang(self) -> None:
        """Let it take packets and answer none."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End a hang."""
        os.kill(self.pid, signal.SIGCONT)

    def _write(self, name: str, text: str) -> None:
        new = self.directory / f"{name}.new"
        new.write_text(text)
        new.rename(self.directory / name)


def free_udp_port() -> int:
    """Return a UDP port that nobody has."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def compiled(directory: Path) -> Path:
    """Compile the plugin that gives the simulator DCMI."""
    compiler = program("gcc", package="gcc")
    if not _HEADER.exists():
        reason = f"{_HEADER} is missing: apt-get install libopenipmi-dev"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    library = directory / "dcmi.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, _HERE / "dcmi.c"], check=True)
    return library


@contextmanager
def ipmi_sim(directory: Path, *, dcmi: bool = True) -> Iterator[Bmc]:
    """Run a BMC in a directory until the block is left."""
    simulator = program("ipmi_sim", package="openipmi")
    tester = program("ipmi-raw", package="freeipmi-tools")
    (directory / "state").mkdir(parents=True)
    port = free_udp_port()
    if dcmi:
        compiled(directory)
    for name in ("lan.conf", "ipmi.emu"):
        text = (_HERE / name).read_text().replace("@DIR@", str(directory)).replace("@PORT@", str(port))
        if not dcmi:
            text = "\n".join(line for line in text.splitlines() if not line.startswith("loadlib"))
        (directory / name).write_text(text + "\n")
    credentials = directory / "credentials"
    credentials.write_text(CREDENTIALS)
    credentials.chmod(0o600)
    command = [simulator, "-n", "-p", "-c", "lan.conf", "-f", "ipmi.emu", "-s", "state"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    bmc = Bmc(f"127.0.0.1:{port}", credentials, directory, process.pid)
    bmc.dcmi_w(213)
    bmc.sensors_w(168, 100)
    try:
        _wait_until_ready(process, tester, bmc)
        yield bmc
    finally:
        process.terminate()
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(directory / "state", ignore_errors=True)


def _wait_until_ready(process: subprocess.Popen[bytes], tester: str, bmc: Bmc) -> None:
    get_device_id = ["0", "06", "01"]
    command = [tester, f"--config-file={bmc.credentials}", "--session-timeout=2000", "-D", "LAN_2_0"]
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, f"ipmi_sim ended: {(bmc.directory / 'log').read_text()[-2000:]}"
        done = subprocess.run([*command, "-h", bmc.address, *get_device_id], capture_output=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"ipmi_sim does not answer at {bmc.address}: {done.stderr!r}")
