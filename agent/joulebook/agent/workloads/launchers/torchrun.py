"""PyTorch's distributed processes, under torchrun or as init_method env:// has them.

Variables: https://docs.pytorch.org/docs/stable/elastic/run.html, section Environment Variables.
"""

from joulebook.agent.workloads.launchers.claim import Claim, Here, clean, first_started, is_loopback
from joulebook.agent.workloads.launchers.process import Process

SOURCE = "torchrun"
_AGENTS = frozenset(("torchrun", "torch.distributed.run", "torch.distributed.launch", "accelerate"))


def recognise(process: Process, here: Here) -> Claim | None:
    """Tell a worker by its rendezvous: its run's id, else the master's address."""
    told = process.told
    run = told.get("TORCHELASTIC_RUN_ID", "")
    host, port = told.get("MASTER_ADDR", ""), told.get("MASTER_PORT", "")
    if not run and not (host and port and "RANK" in told and "WORLD_SIZE" in told):
        return None
    also = first_started(process, _AGENTS)
    if run and run != "none":
        name = clean(run)
    elif is_loopback(host) and also and process.parent is not None:
        # The same port is everyone's default: on one node the agent itself tells runs apart.
        name = here.only(process.parent)
    else:
        name = clean(f"{here.host(host, process.pid)}:{port}")
    return Claim(f"torchrun.{name}", SOURCE, also=also)
