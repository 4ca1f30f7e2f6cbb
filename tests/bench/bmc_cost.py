"""What asking BMC and PDU costs, and what a tick takes while they hang: python -m tests.bench.bmc_cost."""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from joulebook.agent.clock import boot_us
from joulebook.agent.meters.ipmi import Ipmi
from joulebook.agent.meters.node_config import IpmiConfig, PduConfig, RedfishConfig
from joulebook.agent.meters.pdu import Pdu
from joulebook.agent.meters.pdu_outlets import parse_outlet
from joulebook.agent.meters.redfish import Redfish
from joulebook.agent.meters.redfish_documents import HostIdentity
from joulebook.agent.meters.redfish_http import RedfishService
from joulebook.agent.settings import SourceSettings
from joulebook.agent.source import Roots
from joulebook.agent.sources import Sources, probe_sources
from tests.bench.rows import Row, row, write
from tests.servers.ipmi_sim import ipmi_sim
from tests.servers.redfish import redfish
from tests.servers.snmpd import snmpd

_ANSWERS = 40
_HANG_S = 30.0
_TICK_S = 0.1
_UUID = "11223300-0a0b-4c0d-8e0f-0123456789ab"
_OID = "1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.3"


def _cpu_ms(ask: Callable[[], object]) -> float:
    """Return the CPU time of an answer, programs that were started included, in ms."""
    ask()

    def spent_s() -> float:
        # Threads of servers in this process do not count, programs that it started do.
        own = time.thread_time()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return own + children.ru_utime + children.ru_stime

    began_s = spent_s()
    for _ in range(_ANSWERS):
        ask()
    return (spent_s() - began_s) * 1000 / _ANSWERS


def _ipmitool(address: str, directory: Path) -> Callable[[], object] | None:
    if shutil.which("ipmitool") is None:
        return None
    (directory / "word").write_text("secret")
    host, _, port = address.partition(":")
    command = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", host, "-p", port, "-U", "admin"]
    command += ["-f", str(directory / "word"), "dcmi", "power", "reading"]
    return lambda: subprocess.run(command, check=True, capture_output=True)


def _tick_us(sources: Sources) -> float:
    arbiter = sources.arbiter
    assert arbiter is not None
    began_ns = time.perf_counter_ns()
    arbiter.read(boot_us())
    arbiter.findings()
    arbiter.changed()
    return (time.perf_counter_ns() - began_ns) / 1000


def measure() -> list[Row]:
    """Return CPU an answer of each way, and the longest tick while all of them hang."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for part in ("redfish", "pdu", "tool"):
            (directory / part).mkdir()
        with (
            ipmi_sim(directory / "ipmi") as bmc,
            redfish(directory / "redfish", "blades") as service,
            snmpd(directory / "pdu/run") as pdu,
        ):
            pdu.show(_OID, 690)
            community = pdu.credentials("community public")
            by_ipmi = Ipmi(Path("/none"), bmc.address, bmc.credentials)
            client = RedfishService(service.url, service.credentials, service.ca)
            by_redfish = Redfish(client, HostIdentity(_UUID))
            by_pdu = Pdu([parse_outlet(f"{pdu.address}/apc/3")], community, 1)
            tool = _ipmitool(bmc.address, directory / "tool")
            costs = [_cpu_ms(way.read) for way in (by_ipmi, by_redfish, by_pdu)]
            peer_ms = _cpu_ms(tool) if tool else None
            for way in (by_ipmi, by_redfish, by_pdu):
                way.close()
            settings = SourceSettings(
                ipmi=IpmiConfig(address=bmc.address, credentials=str(bmc.credentials), period_s=1),
                redfish=RedfishConfig(
                    url=service.url, credentials=str(service.credentials), ca=str(service.ca), period_s=1
                ),
                pdu=PduConfig(outlets=[f"{pdu.address}/apc/3"], credentials=str(community), period_s=1),
            )
            sources = probe_sources(Roots(), settings, patience_s=10)
            without = probe_sources(Roots())
            bmc.hang()
            pdu.hang()
            for path in list(service.documents):
                service.hang(path)
            taken_us: list[float] = []
            without_us: list[float] = []
            until_s = time.monotonic() + _HANG_S
            while time.monotonic() < until_s:
                taken_us.append(_tick_us(sources))
                without_us.append(_tick_us(without))
                time.sleep(_TICK_S)
            without.close()
            bmc.go_on()
            pdu.go_on()
            service.over.set()
            sources.close()
    return [
        row("IPMI over LAN, CPU an answer", "ms", costs[0], peer="ipmitool", peer_value=peer_ms),
        row("Redfish over https, CPU an answer", "ms", costs[1]),
        row("PDU by SNMP v2c, CPU an answer", "ms", costs[2]),
        row(
            "meters' tick while BMC and PDU hang, median",
            "µs",
            statistics.median(taken_us),
            peer="the same without BMC and PDU",
            peer_value=statistics.median(without_us),
        ),
        row(
            "meters' tick while BMC and PDU hang, longest of 30 s",
            "µs",
            max(taken_us),
            peer="the same without BMC and PDU",
            peer_value=max(without_us),
            target=5000.0,
        ),
    ]


if __name__ == "__main__":
    write("bmc", measure())
    sys.exit(0)
