"""Debian's snmpd as a PDU: any objects below the enterprises, as files."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.ipmi_sim import free_udp_port
from tests.servers.programs import program

_HERE = Path(__file__).parent / "snmp"
_ENTERPRISES = ".1.3.6.1.4.1"


@dataclass(slots=True)
class Pdu:
    """An SNMP agent that runs: where it is, who may ask, and what it shows."""

    address: str
    directory: Path
    pid: int

    def show(self, oid: str, value: object, kind: str = "gauge") -> None:
        """Have an object show a value from now on."""
        path = self.directory / "objects" / f".{oid}"
        new = path.with_suffix(".new")
        new.write_text(f"{kind}\n{value}\n")
        new.rename(path)

    def credentials(self, *lines: str) -> Path:
        """Write a file of credentials."""
        path = self.directory / f"credentials-{abs(hash(lines))}"
        path.write_text("".join(f"{line}\n" for line in lines))
        path.chmod(0o600)
        return path

    def hang(self) -> None:
        """Let it take packets and answer none."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End a hang."""
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def snmpd(directory: Path) -> Iterator[Pdu]:
    """Run an agent in a directory until the block is left."""
    daemon = program("snmpd", package="snmpd")
    port = free_udp_port()
    for name in ("objects", "persistent"):
        (directory / name).mkdir(parents=True)
    for name in ("snmpd.conf", "pass.sh"):
        text = (_HERE / name).read_text()
        for key, value in (("DIR", directory), ("PORT", port), ("BASE", _ENTERPRISES)):
            text = text.replace(f"@{key}@", str(value))
        (directory / name).write_text(text)
    log = directory / "log"
    environment = {**os.environ, "SNMP_PERSISTENT_DIR": str(directory / "persistent"), "MIBS": ""}
    command = [daemon, "-f", "-Lo", "-C", "-c", str(directory / "snmpd.conf"), "-I", "-smux"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 90
        # It says so once its socket is bound.
        while "NET-SNMP version" not in log.read_text():
            assert process.poll() is None, f"snmpd ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"snmpd does not begin: {log.read_text()[-2000:]}"
            time.sleep(0.02)
        yield Pdu(f"127.0.0.1:{port}", directory, process.pid)
    finally:
        process.terminate()
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
