"""The runtime's service, asked again and again over one connection."""

from joulebook.agent.meters.tpu_runtime import Runtime, Use
from tests.servers.tpu_runtime import GIB, runtime

USE = Use({0: 25.0, 1: 0.0}, {0: 3 * GIB, 1: 0})


def test_the_connection_is_kept() -> None:
    """However often it is asked, and whatever it answered in between, the runtime sees one connection."""
    with runtime() as (served, address):
        asked = Runtime(address)
        assert [asked.ask() for _ in range(5)] == [USE] * 5
        assert len(served.peers) == 1
        asked.close()


def test_programs_that_end_and_begin_are_told_of_at_the_next_question() -> None:
    """With the runtime gone all chips rest; what the next one tells comes with the first question to it."""
    with runtime() as (_, address):
        asked = Runtime(address)
        assert asked.ask() == USE
    assert asked.ask() == asked.ask() == Use({}, {}, is_running=False)
    for _ in range(2):
        # The second time nobody asked while there was none.
        with runtime(address) as (served, _):
            served.gauges["tpu.runtime.tensorcore.dutycycle.percent"] = {0: 99.0}
            assert asked.ask().duty_percent == {0: 99.0}
    asked.close()
