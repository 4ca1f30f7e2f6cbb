"""TensorFlow's distributed processes, by the cluster in TF_CONFIG.

https://www.tensorflow.org/guide/distributed_training, section Setting up the TF_CONFIG environment variable.
"""

import msgspec

from joulebook.agent.workloads.launchers.claim import Claim, Here, clean, host_port
from joulebook.agent.workloads.launchers.process import Process

SOURCE = "tensorflow"


class _Config(msgspec.Struct):
    cluster: dict[str, list[str]] = {}


_DECODER = msgspec.json.Decoder(_Config)


def recognise(process: Process, here: Here) -> Claim | None:
    """Tell a task by the first one of its cluster: the chief, else the first worker."""
    if "TF_CONFIG" not in process.told:
        return None
    try:
        cluster = _DECODER.decode(process.told["TF_CONFIG"]).cluster
    except (msgspec.DecodeError, UnicodeError):
        return None
    first = next((cluster[role][0] for role in ("chief", "master", "worker", "ps") if cluster.get(role)), "")
    if (place := host_port(first)) is None:
        return None
    return Claim(f"tensorflow.{clean(f'{here.host(place[0], process.pid)}:{place[1]}')}", SOURCE)
