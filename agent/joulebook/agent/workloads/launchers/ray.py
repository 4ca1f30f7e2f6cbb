"""Ray's processes, by their cluster's address. Seen with Ray 2.60: gcs_server, raylet and what serves them.

Workers are the raylet's children, and any job's (RAY_JOB_ID=ffffffff): a cluster is one job. A driver that
started its cluster is told by the session's name, which ends with its pid.
"""

from joulebook.agent.workloads.launchers.claim import Claim, Here, clean, host_port
from joulebook.agent.workloads.launchers.process import Process

SOURCE = "ray"


def recognise(process: Process, here: Here) -> Claim | None:
    """Tell a daemon of Ray's by the address that it was given, a driver by RAY_ADDRESS."""
    address = process.option("--gcs-address", "--gcs_address")
    if not address and "gcs_server" in process.programs:
        address = f"{process.option('--node-ip-address')}:{process.option('--gcs_server_port')}"
    if not address or not any("/ray/" in argument for argument in process.command[:3]):
        address = process.told.get("RAY_ADDRESS", "")
    place = host_port(address)
    if place is None or place[1] == "0":
        return None
    session = process.option("--session-name", "--session_name")
    started_here = session.endswith(f"_{process.parent_pid}")
    return Claim(
        f"ray.{clean(f'{here.host(place[0], process.pid)}:{place[1]}')}",
        SOURCE,
        also=(process.parent_pid,) if started_here else (),
    )
