"""A node with two ways to its BMC, and a PDU: real servers, up, lying, hung and gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from joulebook.agent.doctor import examine
from joulebook.agent.host import read_host
from joulebook.agent.meters.arbiter import Arbiter
from joulebook.agent.meters.ipmi import Ipmi
from joulebook.agent.meters.node_config import IpmiConfig, PduConfig, RedfishConfig
from joulebook.agent.meters.node_meter import NodeMeter
from joulebook.agent.meters.node_way import Asker, begin
from joulebook.agent.meters.redfish import Redfish
from joulebook.agent.meters.redfish_documents import HostIdentity
from joulebook.agent.meters.redfish_http import RedfishService
from joulebook.agent.settings import SourceSettings
from joulebook.agent.source import Roots
from joulebook.agent.sources import probe_sources
from tests.fixtures.trees import roots_of, write
from tests.servers.ipmi_sim import Bmc, ipmi_sim
from tests.servers.redfish import Service, redfish
from tests.servers.snmpd import Pdu, snmpd

S = 1_000_000
J = 1_000_000
_LONG_S = 120.0
_UUID = "11223300-0a0b-4c0d-8e0f-0123456789ab"
_ENVIRONMENT = "/redfish/v1/Chassis/Blade0/EnvironmentMetrics"
_REDFISH_W, _IPMI_W = 700, 650


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Bmc]:
    """Run a BMC that speaks IPMI."""
    with ipmi_sim(tmp_path / "ipmi") as bmc:
        yield bmc


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Run a BMC that speaks Redfish: this host is the first of three blades."""
    (tmp_path / "redfish").mkdir()
    with redfish(tmp_path / "redfish", "blades") as service:
        yield service


@dataclass
class Node:
    """A node with both ways. Its clock is the test's, and every question is answered before the next tick."""

    bmc: Bmc
    service: Service
    now_us: int = 1000 * S
    askers: list[Asker] = field(default_factory=list)
    # Of each tick: who was booked, and what the domain gained.
    ticks: list[tuple[str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        client = RedfishService(self.service.url, self.service.credentials, self.service.ca, timeout_s=60)
        by_redfish = Asker(Redfish(client, HostIdentity(_UUID), period_us=5 * S), self._clock)
        by_ipmi = Asker(
            Ipmi(Path("/none"), self.bmc.address, self.bmc.credentials, timeout_s=_LONG_S), self._clock
        )
        self.askers = [by_redfish, by_ipmi]
        begin(self.askers, _LONG_S)
        meters = NodeMeter(by_redfish, by_counter=True), NodeMeter(by_ipmi), NodeMeter(by_redfish)
        self.arbiter = Arbiter([(meter, meter.probe()) for meter in meters])
        self.source = self.arbiter.probe().domains[0].source
        self.last = list(self.arbiter.read(self.now_us))

    def _clock(self) -> int:
        return self.now_us

    def run(self, seconds: int) -> list[str]:
        """Let seconds pass; return who was booked, in the order in which they took over."""
        begun = len(self.ticks)
        energy_uj = 198_443_302 * J
        for _ in range(seconds):
            self.now_us += S
            counted_j = (energy_uj + _REDFISH_W * (self.now_us - 1000 * S)) // J
            self.service.documents[_ENVIRONMENT]["EnergyJoules"]["Reading"] = counted_j
            self.service.documents[_ENVIRONMENT]["PowerWatts"]["Reading"] = _REDFISH_W
            values = list(self.arbiter.read(self.now_us))
            grown = [after - before for before, after in zip(self.last, values, strict=True)]
            self.ticks.append((self.source, grown[0], grown[1]))
            self.arbiter.findings()
            self.last = values
            if (probe := self.arbiter.changed()) is not None:
                self.source = probe.domains[0].source
                self.last = list(self.arbiter.read(self.now_us))
            for asker in self.askers:
                asker.slow.wait(_LONG_S)
        names = [source for source, _, _ in self.ticks[begun:]]
        return [name for place, name in enumerate(names) if not place or names[place - 1] != name]

    def totals(self) -> tuple[int, int]:
        """Return energy and unread time of all ticks."""
        return sum(e for _, e, _ in self.ticks), sum(u for _, _, u in self.ticks)


def test_ways_to_the_bmc_relieve_one_another(bmc: Bmc, service: Service) -> None:
    """Each takes over where the one before it fails or lies, and nothing is booked twice or made up."""
    bmc.dcmi_w(_IPMI_W)
    node = Node(bmc, service)
    assert node.run(60) == ["redfish_energy"]
    service.answer(_ENVIRONMENT, b"<html>busy</html>", 503)
    assert node.run(120) == ["redfish_energy", "ipmi"]
    service.faults.clear()
    assert node.run(180) == ["ipmi", "redfish_energy"]
    node.arbiter.close()
    for _, grown_uj, unread_us in node.ticks:
        assert 0 <= grown_uj <= 2 * _REDFISH_W * J
        assert 0 <= unread_us <= S
    energy_uj, unread_us = node.totals()
    # All time is measured by one or the other, or told as unread; a hold may be a period off at each turn.
    measured_s = len(node.ticks) - unread_us / S
    assert _IPMI_W * measured_s - 15 * _REDFISH_W <= energy_uj / J <= _REDFISH_W * (measured_s + 15)
    assert unread_us <= 20 * S


def test_when_all_ways_lie_nothing_is_made_up(bmc: Bmc, service: Service) -> None:
    """With 0 W from one and 65535 W from the other time is unread, and both say why while it lasts."""
    bmc.dcmi_w(_IPMI_W)
    node = Node(bmc, service)
    node.run(20)
    begun_uj = node.totals()[0]
    bmc.dcmi_w(0)
    service.answer(_ENVIRONMENT, b'{"PowerWatts": {"Reading": 65535}, "EnergyJoules": {"Reading": 1}}')
    node.run(100)
    energy_uj, unread_us = node.totals()
    assert energy_uj - begun_uj <= 25 * _REDFISH_W * J
    assert unread_us >= 60 * S
    troubles = [asker.slow.trouble(node.now_us) for asker in node.askers]
    assert "Redfish says 65535 W" in troubles[0]
    assert "DCMI says 0 W" in troubles[1]
    bmc.dcmi_w(_IPMI_W)
    service.faults.clear()
    node.run(100)
    assert node.ticks[-1][1] in (_REDFISH_W * J, _IPMI_W * J)
    assert [asker.slow.trouble(node.now_us) for asker in node.askers] == ["", ""]
    node.arbiter.close()


def _settings(bmc: Bmc, service: Service, pdu: Pdu) -> SourceSettings:
    return SourceSettings(
        ipmi=IpmiConfig(address=bmc.address, credentials=str(bmc.credentials)),
        redfish=RedfishConfig(url=service.url, credentials=str(service.credentials), ca=str(service.ca)),
        pdu=PduConfig(outlets=[f"{pdu.address}/apc/3"], credentials=str(pdu.credentials("community public"))),
    )


def _doctor(roots: Roots, settings: SourceSettings) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    sources = probe_sources(roots, settings)
    try:
        found = examine(sources, (), read_host(roots), "n1")
    finally:
        sources.close()
    return found, {row["name"]: row for row in found["sources"]}


def test_the_doctor_tells_of_each_service_up_hung_and_gone(tmp_path: Path) -> None:
    """Up, each works and the best gives the node; hung or gone, each says so with what to look at."""
    roots = roots_of(tmp_path / "tree")
    write(roots.sysfs / "class/dmi/id/product_uuid", _UUID)
    for name in ("redfish", "pdu"):
        (tmp_path / name).mkdir()
    with (
        ipmi_sim(tmp_path / "ipmi") as bmc,
        redfish(tmp_path / "redfish", "blades") as service,
        snmpd(tmp_path / "pdu" / "run") as pdu,
    ):
        settings = _settings(bmc, service, pdu)
        pdu.show("1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.3", 690)
        found, rows = _doctor(roots, settings)
        deadline = time.monotonic() + _LONG_S
        # Where the machine is slow the time-outs of a first question may pass.
        while {rows[name]["state"] for name in ("ipmi", "redfish", "pdu")} != {"working"} or not all(
            rows[name]["read_us"] for name in ("ipmi", "redfish", "pdu")
        ):
            assert time.monotonic() < deadline, rows
            found, rows = _doctor(roots, settings)
        (node,) = [domain for domain in found["domains"] if domain["domain"] == "node"]
        assert node["source"] == "redfish_energy"
        assert set(node["also"]) == {"ipmi", "redfish", "pdu"}
        bmc.hang()
        pdu.hang()
        service.hang("/redfish/v1/SessionService/Sessions")
        _, rows = _doctor(roots, settings)
        for name in ("ipmi", "redfish", "pdu"):
            # Where the machine is slow the time-outs are later than the doctor is patient.
            waits = "no answer yet" in rows[name]["reason"]
            assert waits or (
                rows[name]["state"] == "unreadable" and rows[name]["reason"] and rows[name]["fix"]
            )
        bmc.go_on()
        pdu.go_on()
    _, rows = _doctor(roots, settings)
    assert rows["redfish"]["state"] == "unreadable"
    assert "agent.redfish.url" in rows["redfish"]["fix"]
    for name in ("ipmi", "pdu"):
        assert rows[name]["state"] == "unreadable" or "no answer yet" in rows[name]["reason"]


def test_nothing_configured_is_absent_with_what_to_set(tmp_path: Path) -> None:
    """A node without BMC says of each way what would have it asked; IPMI may be switched off."""
    _, rows = _doctor(roots_of(tmp_path), SourceSettings(ipmi=IpmiConfig(enabled=False)))
    assert {name: (rows[name]["state"], rows[name]["reason"]) for name in ("ipmi", "redfish", "pdu")} == {
        "ipmi": ("absent", "agent.ipmi.enabled is false"),
        "redfish": ("absent", "no agent.redfish.url"),
        "pdu": ("absent", "no outlets in agent.pdu.outlets"),
    }
