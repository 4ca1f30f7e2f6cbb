"""Parts of GPUs that Slurm gives to jobs: shards, and percents of MPS; see https://slurm.schedmd.com/gres.html.

A task is told how much it has and of which GPUs, not how much of a GPU there is. So jobs that share a GPU are
weighed against each other, and one alone holds all of it. A percentage that a user sets of a GPU that is not
shared thereby changes nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

_SHARDS, _PERCENT = "SLURM_SHARDS_ON_NODE", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"
VARIABLES = frozenset((_SHARDS, _PERCENT))
_LONGEST = 6
_WHOLE_PPM = 1_000_000


def weight_of(environ: Mapping[str, str]) -> int:
    """Return what a task is told that its job has on the node, in shards or percents; 0 where nothing is."""
    for name in (_SHARDS, _PERCENT):
        text = environ.get(name, "")
        if text.isascii() and text.isdecimal() and len(text) <= _LONGEST:
            return int(text)
    return 0


def shared_ppm(held: Mapping[str, Sequence[str]], weights: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return by job the share of each GPU that several hold, if all of them have a weight.

    held has the GPUs of each. Of a GPU that is left out the holders have equal parts. The shares of a GPU add
    up to all of it.
    """
    holders: dict[str, list[str]] = defaultdict(list)
    for job, domains in held.items():
        for domain in domains:
            holders[domain].append(job)
    shares: dict[str, dict[str, int]] = defaultdict(dict)
    for domain, jobs in holders.items():
        # What a job has of several GPUs it is taken to have in equal parts.
        parts = [weights.get(job, 0) * _WHOLE_PPM // len(held[job]) for job in jobs]
        if len(jobs) == 1 or not all(parts):
            continue
        total, before = sum(parts), 0
        for job, part in zip(jobs, parts, strict=True):
            upto = before + part
            shares[job][domain] = _WHOLE_PPM * upto // total - _WHOLE_PPM * before // total
            before = upto
    return dict(shares)
