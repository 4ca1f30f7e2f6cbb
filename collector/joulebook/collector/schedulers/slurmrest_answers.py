"""What slurmrestd(8) says of jobs, in the forms of its versions 0.0.36 and later.

Numbers are numbers up to 0.0.38 and {"set", "infinite", "number"} since. States are a text up to 0.0.39 and
a list since, first the state, then flags. The controller's exit codes are the wait status up to 0.0.39, as
either kind of number, and {"status", "return_code", "signal"} since, as accounting's always were.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias, TypeVar

import msgspec

from joulebook.collector.schedulers.states import is_final
from joulebook.collector.schedulers.text import told_text
from joulebook.collector.schedulers.tres import GPUS, amounts, gpus_asked_for, gpus_in, millicpus
from joulebook.collector.store.scheduled import Scheduled

# What it says where there is nothing of it: ESLURM_INVALID_JOB_ID and ESLURM_REST_EMPTY_RESULT.
_NOTHING = frozenset((2017, 9003))
_MOST = 1 << 50
_SHOWN = 200


class NothingError(Exception):
    """Nothing is known of what was asked about."""


class _Number(msgspec.Struct):
    set: bool = False
    infinite: bool = False
    number: int | float = 0


class _Signal(msgspec.Struct):
    id: int | float | _Number | None = None
    signal_id: int | float | _Number | None = None


class _ExitCode(msgspec.Struct):
    return_code: int | float | _Number | None = None
    signal: _Signal | None = None


class _AnyCode(msgspec.Struct):
    """An exit code of either kind."""

    set: bool | None = None
    number: int | float = 0
    return_code: int | float | _Number | None = None
    signal: _Signal | None = None


Number: TypeAlias = int | float | _Number | None
Text: TypeAlias = str | None


class _Error(msgspec.Struct):
    error_number: int = 0
    error: Text = None
    description: Text = None


class _Job(msgspec.Struct):
    job_id: int
    array_job_id: Number = None
    array_task_id: Number = None
    het_job_id: Number = None
    het_job_offset: Number = None
    user_name: Text = None
    account: Text = None
    partition: Text = None
    name: Text = None
    job_state: str | list[str] | None = None
    tres_alloc_str: Text = None
    gres_detail: list[str] | None = None
    tres_per_job: Text = None
    tres_per_node: Text = None
    tres_per_socket: Text = None
    tres_per_task: Text = None
    submit_time: Number = None
    start_time: Number = None
    end_time: Number = None
    exit_code: int | float | _AnyCode | None = None


class _Array(msgspec.Struct):
    job_id: Number = None
    task_id: Number = None


class _Het(msgspec.Struct):
    job_id: Number = None
    job_offset: Number = None


class _State(msgspec.Struct):
    current: str | list[str] | None = None


class _Time(msgspec.Struct):
    submission: Number = None
    start: Number = None
    end: Number = None


class _Tres(msgspec.Struct):
    type: Text = None
    name: Text = None
    count: Number = None


class _AllTres(msgspec.Struct):
    allocated: list[_Tres] | None = None


class _Record(msgspec.Struct):
    job_id: int
    array: _Array | None = None
    het: _Het | None = None
    user: Text = None
    account: Text = None
    partition: Text = None
    name: Text = None
    state: _State | None = None
    tres: _AllTres | None = None
    time: _Time | None = None
    exit_code: _ExitCode | None = None


class _Jobs(msgspec.Struct):
    jobs: list[_Job] = []
    errors: list[_Error] | None = None


class _Records(msgspec.Struct):
    jobs: list[_Record] = []
    errors: list[_Error] | None = None


_Answer = TypeVar("_Answer", _Jobs, _Records)


def parse_controller(said: bytes, asked: Collection[str], now_us: int) -> dict[str, Scheduled]:
    """Return what /slurm/v0.0.N/job/ID tells, by number. Raises NothingError, and ValueError with the why."""
    answer = _decoded(said, _Jobs)
    return {str(job.job_id): _of_job(job, now_us) for job in answer.jobs if str(job.job_id) in asked}


def parse_accounting(said: bytes, asked: Collection[str], now_us: int) -> dict[str, Scheduled]:
    """Return what /slurmdb/v0.0.N/jobs tells, by number. Raises as parse_controller().

    Of a job that ran several times (requeued) it tells of each; the latest is taken.
    """
    runs = sorted(_decoded(said, _Records).jobs, key=_begun)
    return {str(job.job_id): _of_record(job, now_us) for job in runs if str(job.job_id) in asked}


def _decoded(said: bytes, kind: type[_Answer]) -> _Answer:
    try:
        answer = msgspec.json.decode(said, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"said what it never says ({error})") from error
    for one in answer.errors or ():
        if one.error_number in _NOTHING:
            raise NothingError
        words = [told_text(word) for word in (one.error, one.description) if word]
        raise ValueError(f"error {one.error_number} ({', '.join(words)[:_SHOWN]})")
    return answer


def _begun(job: _Record) -> tuple[int, int]:
    time = job.time or _Time()
    return _number(time.submission) or 0, _number(time.start) or 0


def _of_job(job: _Job, now_us: int) -> Scheduled:
    state = _state(job.job_state)
    given = amounts(job.tres_alloc_str or "")
    gpus = given.get(GPUS)
    if gpus is None and given:
        # Not counted (AccountingStorageTRES): those of each node while it has them, else those asked for.
        gpus = gpus_in(job.gres_detail or ()) or gpus_asked_for(
            job.tres_per_job or "",
            job.tres_per_node or "",
            (job.tres_per_socket or "", job.tres_per_task or ""),
            given.get("node"),
        )
    final = is_final(state)
    return Scheduled(
        known_as=_known_as(job.array_job_id, job.array_task_id, job.het_job_id, job.het_job_offset),
        user=told_text(job.user_name or ""),
        account=told_text(job.account or ""),
        partition=told_text(job.partition or ""),
        name=told_text(job.name or ""),
        state=state,
        node_count=given.get("node"),
        millicpus=millicpus(given),
        gpus=gpus,
        memory_bytes=given.get("mem"),
        submit_us=_time_us(job.submit_time),
        start_us=_time_us(job.start_time),
        end_us=_time_us(job.end_time) if final else None,
        exit_status=_waited(job.exit_code) if final else None,
        told_us=now_us,
    )


def _of_record(job: _Record, now_us: int) -> Scheduled:
    state = _state(job.state.current if job.state else None)
    time, array, het = job.time or _Time(), job.array or _Array(), job.het or _Het()
    given = _given(job.tres.allocated if job.tres else None)
    final = is_final(state)
    status = _exited(job.exit_code.return_code, job.exit_code.signal) if job.exit_code and final else None
    return Scheduled(
        known_as=_known_as(array.job_id, array.task_id, het.job_id, het.job_offset),
        user=told_text(job.user or ""),
        account=told_text(job.account or ""),
        partition=told_text(job.partition or ""),
        name=told_text(job.name or ""),
        state=state,
        node_count=given.get("node"),
        millicpus=millicpus(given),
        gpus=given.get(GPUS),
        memory_bytes=given.get("mem"),
        submit_us=_time_us(time.submission),
        start_us=_time_us(time.start),
        end_us=_time_us(time.end) if final else None,
        # 22.05 says 0 of every job that failed by a status of its own.
        exit_status=None if state == "FAILED" and status == 0 else status,
        told_us=now_us,
    )


def _given(tres: list[_Tres] | None) -> dict[str, int]:
    """Return what amounts() does of accounting's list; its memory is in MiB."""
    names = ((one, "/".join(part for part in (one.type, one.name) if part)) for one in tres or ())
    counted = ((name, number) for one, name in names if (number := _number(one.count)) is not None)
    return amounts(",".join(f"{name}={number}" for name, number in counted if "," not in name))


def _known_as(array: Number, task: Number, het: Number, offset: Number) -> str:
    first, part = _number(array), _number(task)
    if first and part is not None:
        return f"{first}_{part}"
    first, part = _number(het), _number(offset)
    return f"{first}+{part or 0}" if first else ""


def _state(told: str | list[str] | None) -> str:
    """Return the state as squeue shows it: of one that is ending, that it is."""
    states = [told] if isinstance(told, str) else told or [""]
    return told_text("COMPLETING" if "COMPLETING" in states else states[0])


def _waited(told: int | float | _AnyCode | None) -> int | None:
    """Return what a shell would of the controller's exit code: the status, or 128 and the signal."""
    if isinstance(told, _AnyCode) and told.set is None:
        return _exited(told.return_code, told.signal)
    status = _number(_Number(told.set or False, number=told.number) if isinstance(told, _AnyCode) else told)
    if status is None:
        return None
    return status >> 8 & 0xFF or (128 + (status & 0x7F) if status & 0x7F else 0)


def _exited(code: Number, signal: _Signal | None) -> int | None:
    killed = (_number(signal.id) or _number(signal.signal_id)) if signal else None
    return _number(code) or (128 + killed if killed else _number(code))


def _time_us(told: Number) -> int | None:
    seconds = _number(told)
    return seconds * 1_000_000 or None if seconds is not None else None


def _number(told: Number) -> int | None:
    if isinstance(told, _Number):
        told = told.number if told.set and not told.infinite else None
    return None if told is None or not 0 <= told <= _MOST else int(told)
