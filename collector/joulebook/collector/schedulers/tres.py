"""Slurm's words for what a job was given and what it asked for: TRES and GRES, see slurm.conf(5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

GPUS = "gres/gpu"
_WANTED = frozenset(("cpu", "mem", "node", GPUS))
_UNITS = {"": 20, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}
_AMOUNT = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?([KMGTP]?)n?\Z")
_MOST = 1 << 50
# gpu, gpu:2, gpu:a100, gres:gpu:a100:2, gres/gpu:1, gpu:1(IDX:0): a type has something that is no digit.
_OF_GPUS = re.compile(r"(?:gres[:/])?gpu(?![^:=(])")
_COUNTED = re.compile(
    r"(?:gres[:/])?gpu(?:[:=][^:=,()]*[^0-9:=,()][^:=,()]*)?(?:[:=](?P<count>[0-9]{1,6}))?(?:\(.*\))?\Z"
)
# What parts a list, but for commas in parentheses.
_COMMA = re.compile(r",(?![^(]*\))")


def amounts(tres: str) -> dict[str, int]:
    """Return what is allocated, of cpu=4,mem=100M,node=1,gres/gpu=2: counts, and bytes of memory.

    gres/gpu:TYPE counts where there is no gres/gpu, which holds all types. Raises ValueError.
    """
    found: dict[str, int] = {}
    typed = 0
    for part in tres.split(",") if tres else ():
        name, _, amount = part.partition("=")
        kind, of_type, _ = name.partition(":")
        if kind not in _WANTED:
            continue
        if (known := _AMOUNT.match(amount)) is None:
            raise ValueError(f"{part[:100]!r}: expected an amount like 4 or 100M")
        whole, fraction, unit = known[1], known[2] or "", known[3]
        value = int(whole)
        if kind == "mem":
            scale = 1 << _UNITS[unit]
            value = value * scale + int(fraction or 0) * scale // 10 ** len(fraction)
        value = min(value, _MOST)
        if of_type:
            typed += value
        else:
            found[kind] = value
    return found if GPUS in found or not typed else found | {GPUS: typed}


def millicpus(given: Mapping[str, int]) -> int | None:
    """Return thousandths of the CPUs of amounts(); None where it has none."""
    return given["cpu"] * 1000 if "cpu" in given else None


def gpus_in(gres: Iterable[str]) -> int | None:
    """Return the GPUs that lists of GRES name; None where they name some without telling how many."""
    total = 0
    for one in (one.strip() for text in gres for one in _COMMA.split(text)):
        if not _OF_GPUS.match(one):
            continue
        if (counted := _COUNTED.match(one)) is None:
            return None
        total += int(counted["count"] or 1)
    return total


def gpus_asked_for(job: str, node: str, rest: Iterable[str], nodes: int | None) -> int | None:
    """Return the GPUs of a job that asked for some by job or by node; None where that does not tell.

    rest is what it asked for by socket and by task, nodes how many it has.
    """
    by_job, by_node = gpus_in((job,)), gpus_in((node,))
    if by_job:
        return by_job
    if by_node and nodes is not None:
        return by_node * nodes
    return 0 if (by_job, by_node, gpus_in(rest)) == (0, 0, 0) else None
