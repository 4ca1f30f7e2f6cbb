"""Slurm's answers about jobs, from squeue(1) and sacct(1).

Text rather than JSON: it is the same in every version, tells of the jobs that were asked about and of no
others, and no more of them than is wanted. What parts the fields is drawn anew for every question, since a
job's name may hold anything, line ends and what looks like another job included.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence

from joulebook.collector.schedulers.command import CommandError, RefusedError, answer_of
from joulebook.collector.schedulers.config import SlurmConfig
from joulebook.collector.schedulers.states import is_final
from joulebook.collector.schedulers.stats import SchedulerStats
from joulebook.collector.schedulers.text import told_text
from joulebook.collector.schedulers.tres import GPUS, amounts, gpus_asked_for, millicpus
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
    # Of these accounting keeps nothing. Where no GPUs are counted (AccountingStorageTRES) they tell of them.
    ("tres-per-job", 255),
    ("tres-per-node", 255),
    ("tres-per-socket", 255),
    ("tres-per-task", 255),
)
_SACCT = "JobIDRaw,JobID,User,Account,Partition,JobName,State,AllocTRES,Submit,Start,End,ExitCode"
# What they say where there is nothing of it: an answer all the same.
_NO_SUCH_JOB = "Invalid job id specified"
_NO_ACCOUNTING = "accounting storage is disabled"
_Parser = Callable[[str, str, Collection[str], int], dict[str, Scheduled]]
_NOTHING = frozenset(("", "(null)", "N/A", "None", "Unknown", "None assigned"))


class SlurmCommands:
    """Asks squeue, and sacct about what that no longer knows."""

    at_once = 500

    def __init__(self, config: SlurmConfig, stats: SchedulerStats, wall_clock_us: Callable[[], int]) -> None:
        self._config = config
        self._stats = stats
        self._wall_clock_us = wall_clock_us
        self._environ = environment(config.slurm_conf)

    async def jobs(self, numbers: Sequence[str]) -> dict[str, Scheduled]:
        """Return what either knows of jobs, by number. Raises CommandError."""
        config, mark = self._config, f"|{secrets.token_hex(16)}|"
        command = squeue_command(config.squeue, numbers, mark)
        found = await self._said(command, parse_squeue, mark, numbers, _NO_SUCH_JOB)
        if config.sacct and (gone := [number for number in numbers if number not in found]):
            command = sacct_command(config.sacct, gone, mark)
            found |= await self._said(command, parse_sacct, mark, gone, _NO_ACCOUNTING)
        return found

    async def _said(
        self, command: Sequence[str], parse: _Parser, mark: str, numbers: Sequence[str], nothing: str
    ) -> dict[str, Scheduled]:
        self._stats.questions += 1
        try:
            said = await answer_of(command, self._environ, self._config.timeout_s)
            return parse(said, mark, frozenset(numbers), self._wall_clock_us())
        except RefusedError as error:
            if nothing in error.said:
                return {}
            raise
        except ValueError as error:
            raise CommandError(f"{command[0]}: said what it never says ({error})") from error


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


def parse_squeue(said: str, mark: str, asked: Collection[str], now_us: int) -> dict[str, Scheduled]:
    """Return what squeue tells, by the job's number. Raises ValueError for what it never says."""
    return _parse(said, mark, asked, now_us, len(_SQUEUE))


def parse_sacct(said: str, mark: str, asked: Collection[str], now_us: int) -> dict[str, Scheduled]:
    """Return what sacct tells, by the job's number. Raises ValueError for what it never says."""
    return _parse(said, mark, asked, now_us, _SACCT.count(",") + 1)


def _parse(said: str, mark: str, asked: Collection[str], now_us: int, count: int) -> dict[str, Scheduled]:
    fields = [field.strip() for field in said.split(mark)]
    if fields[-1] or len(fields) % count != 1:
        raise ValueError(f"{len(fields) - 1} fields, expected {count} a job: {said[:100]!r}")
    found = {}
    for begin in range(0, len(fields) - 1, count):
        number, *told = fields[begin : begin + count]
        # Asked about a part of an array or of a heterogeneous job, it may tell of all parts.
        if number in asked:
            found[number] = _scheduled(number, told, now_us)
    return found


def _scheduled(number: str, told: Sequence[str], now_us: int) -> Scheduled:
    own, user, account, partition, name, state, tres, submit, start, end, status, *asked_for = (
        "" if field in _NOTHING else field for field in told
    )
    # "CANCELLED by 1000"
    state = state.partition(" ")[0]
    given = amounts(tres)
    gpus = given.get(GPUS)
    if gpus is None and given and asked_for:
        by_job, by_node, *rest = asked_for
        gpus = gpus_asked_for(by_job, by_node, rest, given.get("node"))
    final = is_final(state)
    return Scheduled(
        known_as="" if own == number else told_text(own),
        user=told_text(user),
        account=told_text(account),
        partition=told_text(partition),
        name=told_text(name),
        state=told_text(state),
        node_count=given.get("node"),
        millicpus=millicpus(given),
        gpus=gpus,
        memory_bytes=given.get("mem"),
        submit_us=_time_us(submit),
        start_us=_time_us(start),
        end_us=_time_us(end) if final else None,
        exit_status=_exit_status(status) if final else None,
        told_us=now_us,
    )


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
