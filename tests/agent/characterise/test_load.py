"""The square load spins while it is high, rests while it is low, and leaves nothing behind."""

import time
from collections.abc import Callable

import psutil

from joulebook.agent.characterise.load import SquareLoad
from joulebook.agent.clock import boot_us

LONG_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that comes within a minute."""
    end_s = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.01)


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
