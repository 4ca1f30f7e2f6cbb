"""Slurm's own words become facts of the jobs that were asked about, and of no others."""

import contextlib
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from joulebook.collector.schedulers.slurm import environment, parse_sacct, parse_squeue, squeue_command
from joulebook.collector.store.scheduled import Scheduled
from tests.simulated.garbage import spoilt_bytes

NOW_US = 1_796_002_600_000_000
MARK = "|0123|"
# What Slurm 22.05.8 said, but for the padding and the mark: squeue of one that failed, of a task of an array,
# of a part of a heterogeneous job that waits, and of one that runs with a time limit.
SQUEUE = (
    "522300,522300,root,(null),main,a\nb\\c,FAILED,cpu=1;mem=50M;node=1;billing=1,1796002567,1796002569,1796002572,768,N/A,N/A,N/A,N/A",
    "522301,522301_7,root,(null),main,sbatch,COMPLETED,cpu=1;mem=50M;node=1;billing=1,1796002567,1796002572,1796002575,0,N/A,N/A,N/A,N/A",
    "522303,522302+1,root,(null),main,sbatch,PENDING,cpu=1;mem=10M;node=1;billing=1,1796002567,N/A,N/A,0,N/A,N/A,N/A,N/A",
    "522304,522304,nobody,chem,main,x,RUNNING,cpu=2;mem=1.50G;node=1;billing=2;gres/gpu=2,1796002567,1796002569,1796009999,0,N/A,gres:gpu:2,N/A,N/A",
)  # fmt: skip
ASKED = ("522300", "522301", "522302", "522303", "522304")


def said(*lines: str, mark: str = MARK) -> str:
    """Return lines as the commands print them: each field padded, and followed by the mark."""
    return "".join(
        "".join(f"{field.replace(';', ','):<8}{mark}" for field in line.split(",")) + "\n" for line in lines
    )


def test_what_squeue_says() -> None:
    """Ids, allocation, times and how it ended are taken; an end that is only planned is not."""
    found = parse_squeue(said(*SQUEUE), MARK, ASKED, NOW_US)
    main: dict[str, Any] = {"partition": "main", "node_count": 1, "gpus": 0, "told_us": NOW_US}
    main["submit_us"] = 1796002567_000_000
    root = main | {"user": "root", "millicpus": 1000}
    assert found == {
        "522300": Scheduled(
            name="a\\nb\\c", state="FAILED", memory_bytes=50 << 20, start_us=1796002569_000_000,
            end_us=1796002572_000_000, exit_status=3, **root,
        ),
        "522301": Scheduled(
            "522301_7", name="sbatch", state="COMPLETED", memory_bytes=50 << 20, start_us=1796002572_000_000,
            end_us=1796002575_000_000, exit_status=0, **root,
        ),
        "522303": Scheduled("522302+1", name="sbatch", state="PENDING", memory_bytes=10 << 20, **root),
        "522304": Scheduled(
            user="nobody", account="chem", name="x", state="RUNNING", millicpus=2000, memory_bytes=3 << 29,
            start_us=1796002569_000_000, **main | {"gpus": 2},
        ),
    }  # fmt: skip


def test_what_sacct_says() -> None:
    """Its states have more words, its exit codes a signal; times that it does not know are none."""
    line = "7,7,ada,chem,main,x,CANCELLED by 1000,,1796002567,None,1796002572,0:15"
    (found,) = parse_sacct(said(line), MARK, ["7"], NOW_US).values()
    assert (found.state, found.start_us, found.exit_status) == ("CANCELLED", None, 143)
    assert (found.millicpus, found.gpus, found.memory_bytes) == (None, None, None)


def test_others_are_not_taken() -> None:
    """Asked about a task of an array, squeue tells of all; only what was asked about is taken."""
    assert parse_squeue(said(*SQUEUE), MARK, ["522301"], NOW_US).keys() == {"522301"}
    assert parse_squeue("", MARK, ["522301"], NOW_US) == {}


@pytest.mark.parametrize(
    ("tres", "asked_for", "gpus"),
    [
        ("cpu=1;node=1", "N/A,N/A,N/A,N/A", 0),
        ("cpu=1;node=1", "N/A,gres:gpu:1,N/A,N/A", 1),
        ("cpu=1;node=3", "N/A,gres:gpu:a100:2,N/A,N/A", 6),
        ("cpu=1;node=3", "gres:gpu:4,gres:gpu:2,N/A,N/A", 4),
        ("cpu=1;node=1", "N/A,gres:shard:3,N/A,N/A", 0),
        ("cpu=2;node=1", "N/A,N/A,N/A,gres:gpu:1", None),
        ("cpu=2;node=1;gres/gpu:a100=2", "N/A,N/A,N/A,gres:gpu:1", 2),
        ("", "N/A,gres:gpu:1,N/A,N/A", None),
    ],
)
def test_gpus_that_are_not_counted(tres: str, asked_for: str, gpus: int | None) -> None:
    """Where accounting does not count GPUs, what a job asked for tells; what does not tell is not known."""
    line = f"7,7,ada,chem,main,x,RUNNING,{tres},1796002567,1796002569,1796002572,0,{asked_for}"
    (found,) = parse_squeue(said(line), MARK, ["7"], NOW_US).values()
    assert found.gpus == gpus


def test_accounting_that_counts_no_gpus_says_nothing_of_them() -> None:
    """sacct does not tell a job without GPUs from a cluster that does not count them."""
    line = "7,7,ada,chem,main,x,COMPLETED,cpu=1;node=1,1796002567,1796002569,1796002572,0:0"
    (found,) = parse_sacct(said(line), MARK, ["7"], NOW_US).values()
    assert (found.millicpus, found.gpus) == (1000, None)


@given(st.text(), st.text(max_size=300))
def test_no_name_is_another_job(name: str, user: str) -> None:
    """A name that looks like the rest of an answer is a name: who gave it cannot know the mark."""
    fields = ["1", "1", user, "chem", "main", name, *SQUEUE[1].split(",")[6:]]
    others = "".join(f"{field}{MARK}" for field in ["2", "2", "ada", *fields[3:]])
    text = "".join(f"{field}{MARK}" for field in fields) + f"\n{others}\n"
    assume(MARK not in name + user)
    found = parse_squeue(text.replace(";", ","), MARK, ["1", "2", "9"], NOW_US)
    for one in found.values():
        assert len(one.name) <= 255
        assert (one.name + one.user).isprintable()
    assert set(found) == {"1", "2"}
    assert (found["2"].user, found["1"].account) == ("ada", "chem")


@pytest.mark.parametrize(
    "text",
    [
        "squeue: error",
        said(SQUEUE[0])[:-20],
        said(SQUEUE[0] + ",more"),
        said(SQUEUE[0].replace("1796002569", "2026-11-30T10:00:00")),
        said(SQUEUE[0].replace("768", "0:x")),
        said(SQUEUE[0].replace("cpu=1", "cpu=many")),
    ],
)
def test_what_it_never_says_is_refused(text: str) -> None:
    """Whatever else a command prints is no answer, in part neither."""
    with pytest.raises(ValueError, match="expected"):
        parse_squeue(text, MARK, ASKED, NOW_US)


def test_what_the_commands_run_with() -> None:
    """Nothing of the collector's environment changes what they say, and times are unix seconds."""
    given_ = {"PATH": "/bin", "SQUEUE_FORMAT": "%i", "SACCT_FORMAT": "x", "SLURM_TIME_FORMAT": "relative"}
    assert environment("/c", given_) == {
        "PATH": "/bin", "SLURM_TIME_FORMAT": "%s", "SLURM_CONF": "/c", "LC_ALL": "C",
    }  # fmt: skip
    assert "--jobs=1,2" in squeue_command("squeue", ["1", "2"], MARK)


_SAID = "".join(f"{field.replace(';', ',')}{MARK}" for line in SQUEUE for field in line.split(","))


@given(spoilt_bytes(_SAID.encode()).map(lambda data: data.decode(errors="replace")) | st.text(max_size=200))
def test_spoilt_answers_are_jobs_or_refused(answer: str) -> None:
    """Whatever a command prints, it tells of jobs that were asked about, in numbers, or is a ValueError."""
    for parse in (parse_squeue, parse_sacct):
        with contextlib.suppress(ValueError):
            for number, told in parse(answer, MARK, ASKED, NOW_US).items():
                assert number in ASKED
                counts = (
                    told.millicpus,
                    told.gpus,
                    told.memory_bytes,
                    told.start_us,
                    told.end_us,
                    told.exit_status,
                )
                assert all(count is None or 0 <= count < 1 << 63 for count in counts)
