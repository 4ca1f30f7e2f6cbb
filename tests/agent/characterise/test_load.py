"""The square load spins while it is high, rests while it is low, and leaves nothing behind."""

import time
from collections.abc import Callable

import psutil
import pytest

from joulebook.agent.characterise.load import LoadEndedError, SquareLoad
from joulebook.agent.clock import boot_us

LONG_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that comes within a minute."""
    end_s = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.01)


def test_a_command_goes_up_and_down_with_its_children_and_ends() -> None:
    """A shell's child that burns CPU is stopped and continued with it, and neither is left."""
    before = {child.pid for child in psutil.Process().children()}
    with SquareLoad(1, boot_us, "(while :; do :; done) & wait", warm_up_s=0.2) as load:
        (pid,) = {child.pid for child in psutil.Process().children()} - before
        (burner,) = psutil.Process(pid).children()
        assert not load.is_of_cpus
        until(lambda: burner.status() == psutil.STATUS_STOPPED)
        rested_s = burner.cpu_times().user
        load.turn(high=True)
        until(lambda: burner.cpu_times().user > rested_s + 0.05)
        load.turn(high=False)
        until(lambda: burner.status() == psutil.STATUS_STOPPED)
    until(lambda: not burner.is_running() or burner.status() == psutil.STATUS_ZOMBIE)
    assert not psutil.pid_exists(pid)


def test_a_command_that_ends_is_told_of() -> None:
    """One that ends before the load is wanted, or while it is, says its status and what was expected."""
    with pytest.raises(LoadEndedError, match="status 3: expected a command that runs"):
        SquareLoad(1, boot_us, "exit 3").__enter__()
    with SquareLoad(1, boot_us, "sleep 0.01", warm_up_s=0) as load:
        until(lambda: has_ended(load))


def has_ended(load: SquareLoad) -> bool:
    """Have it go on, and say whether it could not."""
    try:
        load.turn(high=True)
    except LoadEndedError:
        return True
    return False


def test_it_goes_up_and_down_and_ends() -> None:
    """Stopped it takes no CPU time, going it does; edges are noted in order; no process is left."""
    before = {child.pid for child in psutil.Process().children()}
    with SquareLoad(1, boot_us) as load:
        (pid,) = {child.pid for child in psutil.Process().children()} - before
        spinner = psutil.Process(pid)
        load.turn(high=True)
        until(lambda: spinner.cpu_times().user > 0.05)
        load.turn(high=False)
        until(lambda: spinner.status() == psutil.STATUS_STOPPED)
        rested_s = spinner.cpu_times().user
        load.turn(high=True)
        until(lambda: spinner.cpu_times().user > rested_s)
    assert not psutil.pid_exists(pid)
    assert load.rises_us[0] < load.falls_us[0] < load.rises_us[1]
