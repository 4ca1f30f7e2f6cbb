"""kill -9 at any instant of a commit leaves whole commits, and all that was acknowledged."""

import random
import threading
from pathlib import Path

from tests.system.reports import Sender
from tests.system.store_process import StoreProcess

_KILLS = 5


def test_killed_in_mid_commit(tmp_path: Path) -> None:
    """After every kill the books are sound, hold what was acknowledged, and at last all that was metered."""
    rng = random.Random(1)
    collector = StoreProcess(tmp_path / "books.duckdb", tmp_path / "log")
    sender = Sender(collector.grpc)
    try:
        for _ in range(_KILLS):
            collector.start()
            collector.ready()
            sender.measure(150)
            # Some are through when it dies, some are in a transaction, and some are on their way.
            fatal = threading.Timer(rng.uniform(0.05, 1.0), collector.kill)
            fatal.start()
            sender.send()
            fatal.join()
            held, _ = collector.sound()
            assert sender.acknowledged <= held
        collector.start()
        collector.ready()
        sender.send_all()
    finally:
        collector.kill()
    held, energy_uj = collector.sound()
    assert held == sender.acknowledged
    assert energy_uj == sender.node.measured_uj
    assert not sender.refused
