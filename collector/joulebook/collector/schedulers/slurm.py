"""Slurm's answers about jobs, from squeue(1) and sacct(1).

Text rather than JSON: it is the same in every version, tells of the jobs that were asked about and of no
others, and no more of them than is wanted. What parts the fields is drawn anew for every question, since a
job's name may hold anything, line ends and what looks like another job included.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence

from joulebook.collector.schedulers.text import told_text
from joulebook.collector.store.scheduled import Scheduled

# Fields of squeue -O, each with its most characters, and of sacct -o: the same things in the same order.
_SQUEUE = (
    ("JobID", 20),
    ("JobArrayID", 40),
    ("UserName", 255),
    ("Account", 255),
    ("Partition", 255),
    ("Name", 255),
    ("State", 40),
    ("tres-alloc", 1000),
    ("SubmitTime", 20),
    ("StartTime", 20),
    ("EndTime", 20),
    ("exit_code", 20),
)
_SACCT = "JobIDRaw,JobID,User,Account,Partition,JobName,State,AllocTRES,Submit,Start,End,ExitCode"
_COUNT = len(_SQUEUE)
# With an end: others' EndTime is when their time limit will be over.
_FINAL = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")
) | {"REVOKED", "TIMEOUT"}
_NOTHING = frozenset(("", "(null)", "N/A", "None", "Unknown", "None assigned"))
_UNITS = {"": 20, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}
_AMOUNT = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?([KMGTP]?)n?\Z")
_MOST = 1 << 50


def environment(slurm_conf: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what the commands run with: nothing that changes what they say, and times in unix seconds."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("SQUEUE_", "SACCT_"))}
    kept |= {"SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}
    return kept | ({"SLURM_CONF": slurm_conf} if slurm_conf else {})


def squeue_command(squeue: str, numbers: Sequence[str], mark: str) -> list[str]:
    """Return the question about jobs that Slurm's controller knows: waiting, running, and just ended."""
    fields = ",".join(f"{name}:{width}{mark}" for name, width in _SQUEUE)
    return [squeue, "--noheader", "--states=all", f"--jobs={','.join(numbers)}", f"--Format={fields}"]


def sacct_command(sacct: str, numbers: Sequence[str], mark: str) -> list[str]:
    """Return the question about jobs that Slurm's accounting knows, each as a whole."""
    what = ["--allocations", "--noheader", "--parsable", f"--delimiter={mark}", f"--format={_SACCT}"]
    return [sacct, *what, f"--jobs={','.join(numbers)}"]


def parse_jobs(said: str, mark: str, asked: Collection[str], now_us: int) -> dict[str, Scheduled]:
    """Return what either answer tells, by the job's number. Raises ValueError for what neither ever says."""
    fields = [field.strip() for field in said.split(mark)]
    if fields[-1] or len(fields) % _COUNT != 1:
        raise ValueError(f"{len(fields) - 1} fields, expected {_COUNT} a job: {said[:100]!r}")
    found = {}
    for begin in range(0, len(fields) - 1, _COUNT):
        number, *told = fields[begin : begin + _COUNT]
        # Asked about a part of an array or of a heterogeneous job, it may tell of all parts.
        if number in asked:
            found[number] = _scheduled(number, told, now_us)
    return found


def _scheduled(number: str, told: Sequence[str], now_us: int) -> Scheduled:
    own, user, account, partition, name, state, tres, submit, start, end, status = (
        "" if field in _NOTHING else field for field in told
    )
    # "CANCELLED by 1000"
    state = state.partition(" ")[0]
    amounts = _amounts(tres)
    final = state in _FINAL
    return Scheduled(
        known_as="" if own == number else told_text(own),
        user=told_text(user),
        account=told_text(account),
        partition=told_text(partition),
        name=told_text(name),
        state=told_text(state),
        node_count=amounts.get("node"),
        cpus=amounts.get("cpu"),
        gpus=amounts.get("gres/gpu", 0 if amounts else None),
        memory_bytes=amounts.get("mem"),
        submit_us=_time_us(submit),
        start_us=_time_us(start),
        end_us=_time_us(end) if final else None,
        exit_status=_exit_status(status) if final else None,
        told_us=now_us,
    )


def _amounts(tres: str) -> dict[str, int]:
    """Return what is allocated, of cpu=4,mem=100M,node=1,gres/gpu=2: counts, and bytes of memory."""
    found = {}
    for part in tres.split(",") if tres else ():
        name, _, amount = part.partition("=")
        if name not in ("cpu", "mem", "node", "gres/gpu"):
            continue
        if (known := _AMOUNT.match(amount)) is None:
            raise ValueError(f"{part[:100]!r}: expected an amount like 4 or 100M")
        whole, fraction, unit = known[1], known[2] or "", known[3]
        if name == "mem":
            scale = 1 << _UNITS[unit]
            value = int(whole) * scale + int(fraction or 0) * scale // 10 ** len(fraction)
        else:
            value = int(whole)
        found[name] = min(value, _MOST)
    return found


def _time_us(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 10:
        raise ValueError(f"{text[:100]!r}: expected unix seconds")
    return int(text) * 1_000_000 or None


def _exit_status(text: str) -> int | None:
    """Return what a shell would, the status or 128 and the signal, of sacct's 3:0 or squeue's wait status."""
    if not text:
        return None
    status, colon, number = text.partition(":")
    if not (f"{status}{number}".isascii() and status.isdecimal() and (number.isdecimal() or not colon)):
        raise ValueError(f"{text[:100]!r}: expected an exit code")
    code, killed = (int(status), int(number)) if colon else (int(status) >> 8 & 0xFF, int(status) & 0x7F)
    return code or (128 + killed if killed else 0)
