"""`joulebook doctor` beside services that are up, hang, refuse or are gone: what it says, what mends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner

from joulebook.cli.doctor import report
from joulebook.cli.main import main
from joulebook.cli.tables import show
from tests.fixtures.nvml.standin import Standin
from tests.fixtures.trees import build, write
from tests.servers.ceph import ceph
from tests.servers.ipmi_sim import ipmi_sim
from tests.servers.jmx import recorded, says, serving
from tests.servers.redfish import redfish
from tests.servers.snmpd import snmpd
from tests.servers.tpu_runtime import V4, chips, runtime

# A service that is up is waited for.
_PATIENCE_S = 240.0
_UUID = "11223300-0a0b-4c0d-8e0f-0123456789ab"
_OUTLET = "1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.3"
# Gauges are read at ticks only.
_AT_TICKS = {"JOULEBOOK__AGENT__GAUGES__READS_PER_S": "0"}


@contextmanager
def _ipmi(tree: Path, state: str) -> Iterator[str]:
    with ipmi_sim(tree / "bmc") as bmc:
        settings = f'[agent.ipmi]\naddress = "{bmc.address}"\ncredentials = "{bmc.credentials}"\n'
        if state == "another password":
            bmc.credentials.write_text(bmc.credentials.read_text().replace("secret", "terces"))
        elif state == "hangs":
            bmc.hang()
        if state != "gone":
            yield settings
    if state == "gone":
        yield settings


@contextmanager
def _redfish(tree: Path, state: str) -> Iterator[str]:
    write(tree / "sys/class/dmi/id/product_uuid", _UUID)
    (tree / "bmc").mkdir()
    names = ("bmc17.example.org",) if state == "another name" else ("127.0.0.1",)
    with redfish(tree / "bmc", "blades", names) as service:
        if state == "another password":
            service.credentials.write_text("username monitor\npassword mistaken\n")
        elif state == "another authority":
            trustme.CA().cert_pem.write_to_path(str(service.ca))
        elif state == "hangs":
            service.hang("/redfish/v1/SessionService/Sessions")
        settings = (
            f'[agent.redfish]\nurl = "{service.url}"\n'
            f'credentials = "{service.credentials}"\nca = "{service.ca}"\n'
        )
        if state != "gone":
            yield settings
    if state == "gone":
        yield settings


@contextmanager
def _pdu(tree: Path, state: str) -> Iterator[str]:
    with snmpd(tree / "pdu") as pdu:
        pdu.show(_OUTLET, 690)
        word = "private" if state == "another community" else "public"
        credentials = pdu.credentials(f"community {word}")
        if state == "another password":
            credentials = pdu.credentials("username reader", "password mistaken", "privacy a privacy word")
        elif state == "hangs":
            pdu.hang()
        outlet = 4 if state == "another outlet" else 3
        settings = f'[agent.pdu]\noutlets = ["{pdu.address}/apc/{outlet}"]\ncredentials = "{credentials}"\n'
        if state != "gone":
            yield settings
    if state == "gone":
        yield settings


@contextmanager
def _ceph(_: Path, state: str) -> Iterator[str]:
    if state == "killed":
        # A socket that is left, in a directory with a short name: sockets' paths are bounded.
        with tempfile.TemporaryDirectory(prefix="jb-") as name, socket.socket(socket.AF_UNIX) as left:
            left.bind(f"{name}/ceph-osd.0.asok")
            yield f'[agent.ceph]\nsockets = "{name}"\n'
        return
    with ceph() as cluster:
        if state == "hangs":
            os.kill(cluster.osd_pid, signal.SIGSTOP)
        yield f'[agent.ceph]\nsockets = "{cluster.directory}"\ntimeout_s = {2 if state == "hangs" else 60}\n'


@contextmanager
def _hdfs(tree: Path, state: str) -> Iterator[str]:
    over = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        over.wait(_PATIENCE_S)

    handles = {"hangs": hang, "asks for a log-in": says(b"", 401), "another service": says(b'{"beans": []}')}
    context, more = None, ""
    if state == "another authority":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        trustme.CA().cert_pem.write_to_path(str(tree / "ca.pem"))
        more = f'tls_ca = "{tree / "ca.pem"}"\n'
    with serving(handles.get(state, recorded("datanode")), context) as url:
        settings = f'[agent.hdfs]\nurls = ["{url}"]\ntimeout_s = {1 if state == "hangs" else 60}\n{more}'
        if state != "gone":
            yield settings
        over.set()
    if state == "gone":
        yield settings


@contextmanager
def _tpu(tree: Path, state: str) -> Iterator[str]:
    chips(tree, V4, V4)
    if state == "hangs":
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            yield f'[agent.tpu]\naddress = "127.0.0.1:{listener.getsockname()[1]}"\n'
        return
    with runtime() as (servicer, address):
        if state == "tells nothing":
            servicer.gauges.clear()
        if state != "gone":
            yield f'[agent.tpu]\naddress = "{address}"\n'
    if state == "gone":
        yield f'[agent.tpu]\naddress = "{address}"\n'


@contextmanager
def _nvml(tree: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tree / "proc/driver/nvidia").mkdir(parents=True)
    standin = Standin(tree, 2)
    standin.install(monkeypatch)
    answers: dict[str, dict[str, object]] = {
        "up": {},
        "a GPU is lost": {"1.all": "!15"},
        "no permission for a GPU": {"1.handle": "!4"},
        "not loaded": {"init": "!9"},
        "two versions": {"init": "!18"},
    }
    standin.put(answers[state])
    yield ""


# Service and its state; the row that tells of it, its state, words of why or what it shows, and of the fix.
_CASES = [
    (_ipmi, "up", "ipmi", "working", "213 W by DCMI", ""),
    (_ipmi, "another password", "ipmi", "unreadable", "password invalid", "the password in agent.ipmi.cred"),
    (
        _ipmi,
        "hangs",
        "ipmi",
        "unreadable",
        "connection timeout",
        "check that the BMC answers (agent.ipmi.addr",
    ),
    (_ipmi, "gone", "ipmi", "unreadable", "connection timeout", "has IPMI over LAN switched on"),
    (_redfish, "up", "redfish_energy", "working", "712.25 W by EnvironmentMetrics", ""),
    (
        _redfish,
        "another password",
        "redfish",
        "unreadable",
        "'monitor' (401)",
        "in agent.redfish.credentials",
    ),
    (
        _redfish,
        "another authority",
        "redfish",
        "unreadable",
        "not accepted: unable to get",
        "set agent.redfish.ca",
    ),
    (
        _redfish,
        "another name",
        "redfish",
        "unreadable",
        "not valid for '127.0.0.1'",
        "agent.redfish.certificate_",
    ),
    (_redfish, "hangs", "redfish", "unreadable", "no answer within 8 s", "restart the BMC"),
    (_redfish, "gone", "redfish", "unreadable", "Connection refused", "check agent.redfish.url"),
    (_pdu, "up", "pdu", "working", "690 W by SNMP", ""),
    (_pdu, "another community", "pdu", "unreadable", "no SNMP response", "agent.pdu.credentials"),
    (_pdu, "another password", "pdu", "unreadable", "wrong SNMP PDU digest", "agent.pdu.credentials"),
    (
        _pdu,
        "another outlet",
        "pdu",
        "unreadable",
        f"{_OUTLET[:-1]}4 is",
        "correct the outlet in agent.pdu.outlets",
    ),
    (_pdu, "hangs", "pdu", "unreadable", "no SNMP response", "check agent.pdu.outlets"),
    (_pdu, "gone", "pdu", "unreadable", "no SNMP response", "check agent.pdu.outlets"),
    (_ceph, "up", "ceph", "working", "ceph.mon.a, ceph.osd.0", ""),
    (_ceph, "hangs", "ceph:osd.0", "unreadable", "no answer within 2 s", "restart it if it hangs"),
    (
        _ceph,
        "killed",
        "ceph",
        "unreadable",
        "osd.0: nobody serves its",
        "start the daemon, or remove what it left",
    ),
    (_hdfs, "up", "hdfs", "working", "hdfs.datanode.127.0.0.1:", ""),
    (_hdfs, "hangs", "hdfs", "unreadable", "no answer within 1 s", "restart it if it hangs"),
    (_hdfs, "gone", "hdfs", "unreadable", "Connection refused", "agent.hdfs.urls"),
    (_hdfs, "asks for a log-in", "hdfs", "unreadable", "it answers 401", "without a log-in"),
    (_hdfs, "another service", "hdfs", "unreadable", "neither a DataNode's nor", "agent.hdfs.urls"),
    (_hdfs, "another authority", "hdfs", "unreadable", "certificate not accepted", "set agent.hdfs.tls_ca"),
    (_tpu, "up", "tpu", "working", "gpu.0 25 % busy, gpu.1 0 % busy", ""),
    (_tpu, "tells nothing", "tpu", "unreadable", "no such metric", "check agent.tpu.address"),
    (_tpu, "hangs", "tpu", "unreadable", "no answer within 3 s", "check agent.tpu.address"),
    (_tpu, "gone", "tpu", "working", "no program uses a chip", ""),
    (_nvml, "up", "nvml", "working", "gpu.0, gpu.1", ""),
    (_nvml, "a GPU is lost", "nvml:gpu.1", "unreadable", "fell off the bus", "reset it or reboot"),
    (_nvml, "no permission for a GPU", "nvml:gpu.1", "unreadable", "no permission", "/dev/nvidia*"),
    (_nvml, "not loaded", "nvml", "unreadable", "the NVIDIA driver is not loaded", "modprobe nvidia"),
    (_nvml, "two versions", "nvml", "unreadable", "of different versions", "reboot, or reload"),
]


def _id(case: tuple[Any, ...]) -> str:
    return f"{case[0].__name__.strip('_')} {case[1]}"


def _told(tree: Path, settings: str) -> dict[str, Any]:
    """Return what the doctor finds in a tree."""
    file = tree / "joulebook.toml"
    file.write_text(settings)
    roots = [f"--{root}fs={tree / root}" for root in ("proc", "sys", "cgroup", "dev")]
    command = ["doctor", f"--config={file}", "--server=http://127.0.0.1:1", "--json", *roots]
    result = CliRunner().invoke(main, command, env=_AT_TICKS)
    assert result.exit_code == 1, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def _packed(text: str) -> str:
    """Leave out white space: columns fold long words."""
    return "".join(text.split())


@pytest.mark.parametrize("case", _CASES, ids=_id)
def test_a_service(
    case: tuple[Callable[..., Any], str, str, str, str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """JSON and page tell how the service stands, what it shows or why not, and exactly what mends it."""
    serve, state, name, stands, says_why, mends = case
    build("vm", tmp_path)
    if serve is _nvml:
        serve = partial(_nvml, monkeypatch=monkeypatch)
    with serve(tmp_path, state) as settings:
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            found = _told(tmp_path, settings)
            rows = {row["name"]: row for row in found["sources"]}
            row = rows.get(name)
            says = "" if row is None else f"{', '.join(row['gives'])}; {row['shows']}; {row['reason']}"
            if row is not None and row["state"] == stands and says_why in says:
                break
            assert time.monotonic() < until_s, f"expected {stands}, {says_why!r}: {row}"
    assert mends in row["fix"]
    assert bool(row["fix"]) == bool(mends)
    show(*report(found))
    page = _packed(capsys.readouterr().out)
    assert _packed(f"{name} {stands}") in page
    assert _packed(row["reason"]) in page
    assert _packed(f"{row['shows']}") in page
    assert not mends or _packed(f": {row['fix']}") in page
