"""Ask the PDUs that feed a node for the power of its outlets, by SNMP v2c or v3."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from joulebook.agent.meters.bmc import AskError, NodePower, believable, read_lines
from joulebook.agent.meters.pdu_outlets import Outlet
from joulebook.agent.source import ABSENT, WORKING, Finding
from joulebook.agent.source_facts import SourceFacts

_FIX_PACKAGE = "pip install 'joulebook[snmp]'"
# Of each packet; one that is lost is sent again once.
_TIMEOUT_S = 2.0
_RETRIES = 1

FACTS = SourceFacts(
    name="pdu",
    what="power of the node (`node`), the sum of the outlets that feed it",
    where="SNMP v2c or v3: APC, Raritan, Server Technology, or any OID (`[agent.pdu]`)",
    unit="W, or what the OID is in",
    period="`agent.pdu.period_s` (10 s); PDUs take new values every 1 to 3 s",
    accuracy="±2 %; billing-grade PDUs state ±1 %",
    privilege="credentials of the PDU; pip install 'joulebook[snmp]'",
    cost="2 to 3 ms CPU an answer, beside the tick (snmpd on loopback)",
    documentation="PowerNet-MIB, PDU2-MIB, Sentry4-MIB",
)


class Pdu:
    """The outlets of one node, on one PDU or two. All must answer: a part of the feeds is not the node."""

    name = "pdu"
    accuracy_ppm = 20_000

    def __init__(
        self, outlets: Sequence[Outlet], credentials: Path, period_us: int, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self.period_us = period_us
        self._timeout_s = timeout_s
        self._outlets = tuple(outlets)
        self._credentials = credentials
        self._manager: _Manager | None = None

    def probe(self) -> Finding:
        """Say whether any outlets were named."""
        if not self._outlets:
            return Finding(self.name, ABSENT, "no outlets in agent.pdu.outlets")
        return Finding(self.name, WORKING)

    def read(self) -> NodePower:
        """Ask every PDU once. AskError: one gave no believable answer."""
        if self._manager is None:
            self._manager = _Manager(self._credentials, self._timeout_s)
        by_pdu: defaultdict[tuple[str, int], list[Outlet]] = defaultdict(list)
        for outlet in self._outlets:
            by_pdu[outlet.host, outlet.port].append(outlet)
        power_mw = 0
        for (host, port), outlets in by_pdu.items():
            numbers = self._manager.numbers(host, port, [outlet.oid for outlet in outlets])
            power_mw += sum(n * outlet.scale_mw for n, outlet in zip(numbers, outlets, strict=True))
        step_mw = sum(outlet.scale_mw for outlet in self._outlets)
        return NodePower(believable(power_mw, "the PDU"), step_mw, way="SNMP")

    def close(self) -> None:
        """Give the socket back."""
        if self._manager is not None:
            self._manager.close()
            self._manager = None


class _Manager:
    """pysnmp with a loop of its own, which runs only while somebody asks."""

    def __init__(self, credentials: Path, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        lines = read_lines(credentials, "agent.pdu.credentials")
        try:
            from pysnmp.error import PySnmpError  # noqa: PLC0415  (an extra, and 30 MB)
            from pysnmp.hlapi.v3arch import asyncio as snmp  # noqa: PLC0415
        except ImportError as error:
            raise AskError("pysnmp is not installed", _FIX_PACKAGE) from error
        self._snmp: Any = snmp
        self._error: type[Exception] = PySnmpError
        self._user = _user(snmp, lines)
        self._loop = asyncio.new_event_loop()
        self._engine = self._loop.run_until_complete(self._begin())

    def numbers(self, host: str, port: int, oids: Sequence[str]) -> list[int]:
        """Return the numbers of some objects of an agent. AskError: it has not all of them."""
        try:
            answer = self._loop.run_until_complete(self._ask(host, port, oids))
        except self._error as error:
            raise AskError(f"{host}: {error}"[:300], "check the name in agent.pdu.outlets") from error
        trouble, status, index, objects = answer
        if trouble:
            reason = str(trouble)
            fix = "check agent.pdu.outlets and agent.pdu.credentials, and that the PDU lets this node ask"
            timed_out = type(trouble).__name__ == "RequestTimedOut"
            raise AskError(f"{host}: {reason[:1].lower()}{reason[1:]}", fix, timed_out=timed_out)
        if status:
            raise AskError(f"{host}: {oids[max(0, int(index) - 1)]}: {status.prettyPrint()}", _FIX_OUTLET)
        if len(objects) != len(oids):
            raise AskError(f"{host}: {len(objects)} answers to {len(oids)} questions")
        return [_number(host, oid, value) for oid, (_, value) in zip(oids, objects, strict=True)]

    def close(self) -> None:
        """End pysnmp's tasks, socket and loop."""
        self._engine.close_dispatcher()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks))
        self._loop.close()

    async def _begin(self) -> Any:
        return self._snmp.SnmpEngine()

    async def _ask(self, host: str, port: int, oids: Sequence[str]) -> Any:
        snmp = self._snmp
        kind = snmp.Udp6TransportTarget if ":" in host else snmp.UdpTransportTarget
        target = await kind.create((host, port), timeout=self._timeout_s, retries=_RETRIES)
        objects = [snmp.ObjectType(snmp.ObjectIdentity(oid)) for oid in oids]
        return await snmp.get_cmd(
            self._engine, self._user, target, snmp.ContextData(), *objects, lookupMib=False
        )


_FIX_OUTLET = "correct the outlet in agent.pdu.outlets; `snmpwalk` shows what the PDU has"


def _user(snmp: Any, lines: dict[str, str]) -> Any:
    if "community" in lines:
        return snmp.CommunityData(lines["community"], mpModel=1)
    if "username" not in lines:
        fix = "a line `community WORD`, or `username NAME`, `password WORD` and `privacy WORD`"
        raise AskError("agent.pdu.credentials has neither community nor username", fix)
    password, privacy = lines.get("password"), lines.get("privacy")
    return snmp.UsmUserData(
        lines["username"],
        password,
        privacy,
        authProtocol=snmp.usmHMACSHAAuthProtocol if password else snmp.usmNoAuthProtocol,
        privProtocol=snmp.usmAesCfb128Protocol if privacy else snmp.usmNoPrivProtocol,
    )


def _number(host: str, oid: str, value: Any) -> int:
    try:
        return int(value)
    # Of what is not there at all pysnmp raises whatever its error is derived from.
    except Exception as error:
        shown = str(value.prettyPrint())[:60]
        raise AskError(f"{host}: {oid} is {shown!r}, not a number", _FIX_OUTLET) from error
