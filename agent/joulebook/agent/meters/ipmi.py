"""Ask a node's BMC for its power by IPMI: in band through the kernel, over LAN through FreeIPMI.

FreeIPMI is what is kept up, and an answer over LAN costs a seventh of the CPU time that ipmitool's does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from joulebook.agent.meters.bmc import AskError, NodePower, believable, read_credentials
from joulebook.agent.meters.ipmi_dcmi import (
    GET_POWER_READING,
    NETFN_GROUP,
    REQUEST,
    UnsupportedError,
    parse_power_reading,
)
from joulebook.agent.meters.ipmi_device import DEVICES, FIX_MODULE, IpmiDevice
from joulebook.agent.meters.ipmi_text import choose_sensors, fault, parse_raw, parse_sensors
from joulebook.agent.source import ABSENT, WORKING, Finding
from joulebook.agent.source_facts import SourceFacts

FIX_PROGRAMS = "install FreeIPMI (Debian, Ubuntu: apt-get install freeipmi-tools; RHEL: dnf install freeipmi)"
FACTS = SourceFacts(
    name="ipmi",
    what="power of the node (`node`), as its BMC shows it: DCMI, else the BMC's watt sensors",
    where="`/dev/ipmi0`, or IPMI over LAN through FreeIPMI (`[agent.ipmi]`)",
    unit="W",
    period="`agent.ipmi.period_s` (5 s); the BMC's own mean of about 1 s",
    accuracy="±5 %, as ENERGY STAR for servers asks of the input's power",
    privilege="read and write on `/dev/ipmi0`; over LAN a user of the BMC, for DCMI often an administrator",
    cost="two ioctls, or 5 ms CPU an answer over LAN, beside the tick (simulated BMC)",
    documentation="DCMI 1.5, 6.6.1; IPMI 2.0; Documentation/driver-api/ipmi.rst; ENERGY STAR for servers 3.0",
)

# FreeIPMI gives up itself, and sends a lost packet again meanwhile; should it not, it is killed.
_TIMEOUT_S = 4.0
_KILL_S = 6.0
_RESEND_MS = 700
_MOST_CHARACTERS = 1 << 20


def find_device(devfs: Path) -> Path | None:
    """Return the kernel's IPMI device; None: there is none."""
    return next((devfs / name for name in DEVICES if (devfs / name).exists()), None)


class FreeIpmi:
    """FreeIPMI's programs against one BMC. The password stays in its file, which they read themselves."""

    def __init__(
        self, address: str = "", credentials: Path | None = None, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._credentials = credentials
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def ask(self, netfn: int, command: int, data: bytes) -> bytes:
        """Send a command and return its answer from the completion code on."""
        numbers = [f"{byte:02x}" for byte in (0, netfn, command, *data)]
        return parse_raw(self._run("ipmi-raw", numbers))

    def sensors(self, records: Sequence[int] = ()) -> str:
        """Return what ipmi-sensors prints of these records, or of all."""
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="joulebook-ipmi-")
        arguments = [
            "--comma-separated-output",
            "--no-header-output",
            "--non-abbreviated-units",
            "--quiet-cache",
            "--sdr-cache-recreate",
            f"--sdr-cache-directory={self._directory.name}",
        ]
        if records:
            arguments.append("--record-ids=" + ",".join(map(str, records)))
        return self._run("ipmi-sensors", arguments)

    def close(self) -> None:
        """Remove the cache of the sensors' descriptions."""
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def _run(self, program: str, arguments: list[str]) -> str:
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path is None:
            raise AskError(f"{program} is not installed", FIX_PROGRAMS)
        session_ms = round(self._timeout_s * 1000)
        command = [path, f"--session-timeout={session_ms}"]
        command.append(f"--retransmission-timeout={min(_RESEND_MS, session_ms // 2)}")
        if self._credentials is not None:
            read_credentials(self._credentials, "agent.ipmi.credentials")
            command.append(f"--config-file={self._credentials}")
        command += [f"--hostname={self._address}", "--driver-type=LAN_2_0"] if self._address else []
        try:
            done = subprocess.run(
                [*command, *arguments],
                capture_output=True,
                timeout=self._timeout_s + _KILL_S,
                check=False,
                stdin=subprocess.DEVNULL,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            raise AskError(
                f"{program} has not come back for {error.timeout:g} s", "restart the BMC", timed_out=True
            ) from error
        out, complaint = done.stdout[:_MOST_CHARACTERS], done.stderr[-2000:]
        if done.returncode or not out:
            raise fault(program, (complaint or out).decode(errors="replace"))
        return out.decode(errors="replace")


class Ipmi:
    """One BMC: by DCMI where it has that, else by its watt sensors."""

    name = "ipmi"
    accuracy_ppm = 50_000

    def __init__(
        self,
        devfs: Path,
        address: str = "",
        credentials: Path | None = None,
        sensors: Sequence[str] = (),
        period_us: int = 5_000_000,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self.period_us = period_us
        device = None if address else find_device(devfs)
        self._is_there = bool(address) or device is not None
        self._programs = FreeIpmi(address, credentials, timeout_s)
        self._device = IpmiDevice(device) if device is not None else None
        self._named = tuple(sensors)
        self._records: tuple[int, ...] = ()
        self._by_sensors = bool(sensors)

    def probe(self) -> Finding:
        """Say whether there is a BMC to ask."""
        if not self._is_there:
            fix = f"where there is a BMC: {FIX_MODULE}; or set agent.ipmi.address"
            return Finding(self.name, ABSENT, "no /dev/ipmi0 and no agent.ipmi.address", fix)
        return Finding(self.name, WORKING)

    def read(self) -> NodePower:
        """Ask. AskError: no believable answer came."""
        if not self._by_sensors:
            try:
                ask = self._device.ask if self._device is not None else self._programs.ask
                return parse_power_reading(ask(NETFN_GROUP, GET_POWER_READING, REQUEST))
            except UnsupportedError:
                self._by_sensors = True
        return self._sum()

    def close(self) -> None:
        """Give back what is held."""
        if self._device is not None:
            self._device.close()
        self._programs.close()

    def _sum(self) -> NodePower:
        records, self._records = self._records, ()
        sensors = parse_sensors(self._programs.sensors(records))
        # Should it fail here, a BMC that only now began is asked for everything again.
        self._by_sensors = bool(self._named)
        chosen = choose_sensors(sensors, self._named)
        self._by_sensors = True
        self._records = tuple(sensor.record for sensor in chosen)
        silent = [sensor.name for sensor in chosen if sensor.power_mw < 0]
        if silent:
            raise AskError(f"the sensor {silent[0]!r} reads nothing")
        power_mw = sum(sensor.power_mw for sensor in chosen)
        return NodePower(believable(power_mw, " + ".join(s.name for s in chosen)), way="SDR")
