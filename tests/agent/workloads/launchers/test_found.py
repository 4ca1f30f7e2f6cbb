"""What is new among processes, on a made-up /proc."""

import os
import threading
from pathlib import Path

from joulebook.agent.workloads.launchers.found import Found, is_process
from joulebook.agent.workloads.launchers.process import Processes


def show(procfs: Path, pid: int, command: str = "sh", parent: int = 1, start: int = 22) -> None:
    (procfs / str(pid)).mkdir(exist_ok=True)
    fields = " ".join(str(start if n == 22 else n) for n in range(5, 53))
    (procfs / str(pid) / "stat").write_text(f"{pid} ({command}) S {parent} {fields}\n")


def started(procfs: Path, last_pid: int) -> None:
    (procfs / "loadavg").write_text(f"0.1 0.1 0.1 1/99 {last_pid}\n")


def found_in(procfs: Path, *, sees_own_pids: bool = True) -> Found:
    return Found(
        procfs,
        Processes(procfs),
        sees_own_pids=sees_own_pids,
        is_process=lambda pid: (procfs / f"{pid}/stat").exists(),
    )


def seen(found: Found) -> list[tuple[int, bool]]:
    return [(pid, is_new) for pid, _, is_new in found.look()]


def test_only_what_was_started_since_is_looked_at(tmp_path: Path) -> None:
    """What has a pid that was not given out since is not looked for; the kernel's own are left alone."""
    show(tmp_path, 2, "kthreadd", 0)
    show(tmp_path, 3, "kworker", 2)
    show(tmp_path, 7)
    started(tmp_path, 7)
    found = found_in(tmp_path)
    assert seen(found) == [(7, True)]
    show(tmp_path, 8, parent=7)
    assert (8, True) not in seen(found)
    started(tmp_path, 8)
    assert (8, True) in seen(found)
    assert found.children(7) == [8]


def test_a_young_process_is_looked_at_again_until_it_is_old(tmp_path: Path) -> None:
    """A program that is executed later is found, at the 1st, 2nd, 4th … 32nd look, and no later."""
    show(tmp_path, 7)
    started(tmp_path, 7)
    found = found_in(tmp_path)
    looks = [seen(found) for _ in range(70)]
    assert looks[0] == [(7, True)]
    assert [n for n, look in enumerate(looks) if look == [(7, False)]] == [1, 2, 4, 8, 16, 32]
    show(tmp_path, 8, "sh")
    started(tmp_path, 8)
    assert seen(found) == [(8, True)]
    show(tmp_path, 8, "java")
    assert seen(found) == [(8, True)]


def test_many_new_ones_are_looked_at_in_turn(tmp_path: Path) -> None:
    """Of a thousand processes that are started at once a look takes some, and the next ones the rest."""
    started(tmp_path, 1)
    found = found_in(tmp_path)
    seen(found)
    for pid in range(100, 1100):
        show(tmp_path, pid)
    started(tmp_path, 1100)
    new = [[pid for pid, is_new in seen(found) if is_new] for _ in range(5)]
    assert [len(look) for look in new] == [250, 250, 250, 250, 0]
    assert sorted(pid for look in new for pid in look) == list(range(100, 1100))


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    """A pid that ended and is given out again is new."""
    show(tmp_path, 7)
    started(tmp_path, 7)
    found = found_in(tmp_path, sees_own_pids=False)
    assert seen(found) == [(7, True)]
    (tmp_path / "7/stat").unlink()
    (tmp_path / "7").rmdir()
    assert seen(found) == []
    show(tmp_path, 7)
    assert seen(found) == [(7, True)]


def test_a_proc_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    """Nothing is new and nothing is forgotten while it is away; then all goes on."""
    procfs, away = tmp_path / "proc", tmp_path / "away"
    found = found_in(procfs)
    assert seen(found) == []
    procfs.mkdir()
    show(procfs, 7)
    started(procfs, 7)
    assert seen(found) == [(7, True)]
    procfs.rename(away)
    assert seen(found) == []
    assert found.parents == {7: 1}
    away.rename(procfs)
    show(procfs, 8)
    started(procfs, 8)
    assert (8, True) in seen(found)


def test_what_was_given_out_since_is_asked_for_by_its_pid(tmp_path: Path) -> None:
    """Of the pids since the last look the processes are yielded, but for one that was there before."""
    for pid in (7, 8, 9, 11):
        show(tmp_path, pid)
    started(tmp_path, 9)
    found = found_in(tmp_path)
    assert [pid for pid, _ in seen(found)] == [7, 8, 9, 11]
    show(tmp_path, 12)
    started(tmp_path, 12)
    assert [pid for pid, is_new in seen(found) if is_new] == [12]


def test_a_pid_that_was_given_out_again_is_new(tmp_path: Path) -> None:
    """A process that stands in place of one that nobody saw end is told by when it began."""
    for pid in (7, 8, 9, 11):
        show(tmp_path, pid)
    started(tmp_path, 9)
    found = found_in(tmp_path)
    seen(found)
    show(tmp_path, 11, start=1 << 50)
    started(tmp_path, 11)
    assert [pid for pid, is_new in seen(found) if is_new] == [11]


def test_pids_that_begin_again_or_were_chosen_are_found_by_listing(tmp_path: Path) -> None:
    """Once the last pid fell all are listed, and every 64 looks, for what chose its own pid."""
    for pid in (7, 90):
        show(tmp_path, pid)
    started(tmp_path, 90)
    found = found_in(tmp_path)
    seen(found)
    show(tmp_path, 8)
    show(tmp_path, 95)
    started(tmp_path, 8)
    assert [pid for pid, is_new in seen(found) if is_new] == [8, 95]
    show(tmp_path, 50)
    new = [pid for _ in range(64) for pid, is_new in seen(found) if is_new]
    assert new == [50]


def test_a_thread_is_no_process() -> None:
    """The kernel tells a thread from a process, and both from what is gone."""
    told: list[int] = []
    ready, done = threading.Event(), threading.Event()

    def run() -> None:
        told.append(threading.get_native_id())
        ready.set()
        done.wait()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    assert is_process(os.getpid())
    assert is_process(os.getppid())
    assert not is_process(told[0])
    done.set()
    thread.join()
    assert not is_process(told[0])
