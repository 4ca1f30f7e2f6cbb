"""The spool tells of itself what an operator needs, and no more often than that."""

from pathlib import Path

from joulebook.agent.source import SUSPECT, UNREADABLE, WORKING, Finding
from joulebook.agent.spool.spool import Spool
from joulebook.agent.spool.standing import Counts, Standing, look
from tests.agent.spool.conftest import Source


def test_a_spool_at_rest_says_nothing_after_the_first_word(tmp_path: Path, source: Source) -> None:
    """With Reports that go as they come, the spool is working, told once."""
    now_us = 1_000_000_000_000
    spool = Spool(tmp_path, clock=lambda: now_us)
    assert spool.findings() == (Finding("spool", WORKING),)
    for _ in range(20):
        now_us += 60_000_000
        spool.put(source.entry())
        entry = spool.next_live()
        assert entry is not None
        spool.remove(entry.key)
        assert spool.findings() == ()
    spool.close()


def test_a_backlog_is_told_with_its_size_and_age(tmp_path: Path, source: Source) -> None:
    """What waits is told at most once a minute, with how much it is and since when, until it is gone."""
    now_us = source.node.now_us
    spool = Spool(tmp_path, boot=source.node.boot, clock=lambda: now_us)
    spool.findings()
    for _ in range(20):
        spool.put(source.entry())
    assert spool.findings() == ()
    now_us += 7_200_000_000
    (found,) = spool.findings()
    assert found.state == WORKING
    assert found.reason == "20 reports wait (0.0 MB, the oldest for 2.0 h)"
    while (entry := spool.next_kept()) is not None:
        spool.remove(entry.key)
    now_us += 60_000_000
    assert spool.findings() == (Finding("spool", WORKING),)
    spool.close()


def test_what_went_wrong_is_a_worry_for_an_hour_and_a_fact_after_it() -> None:
    """Dropped Reports make the spool suspect with what to do; later they are only told."""
    now_us = 0
    counts = Counts()
    standing = Standing(counts, lambda: now_us)
    standing.tell("", "")
    counts.dropped = 3
    now_us += 60_000_000
    assert standing.is_due("")
    (found,) = standing.tell("", "")
    assert (found.state, found.reason) == (SUSPECT, "3 reports dropped")
    assert "raise agent.spool_max_bytes" in found.fix
    now_us += 3_600_000_000
    assert standing.tell("", "") == (Finding("spool", WORKING, "3 reports dropped"),)
    # Trouble with the disk is told at once.
    assert standing.is_due("/spool: No space left on device")
    (found,) = standing.tell("", "/spool: No space left on device")
    assert found.reason == "/spool: No space left on device; reports are kept in memory; 3 reports dropped"


def test_the_doctor_looks_without_taking_the_spool(tmp_path: Path, source: Source) -> None:
    """A spool in use is read as it is; one that does not exist, is in memory or cannot be read is said so."""
    spool = Spool(tmp_path / "spool")
    for _ in range(3):
        spool.put(source.entry())
    entry = spool.next_live()
    assert entry is not None
    spool.remove(entry.key)
    found = look(tmp_path / "spool")
    assert (found.state, found.reason) == (WORKING, f"{tmp_path}/spool: 2 reports wait (0.0 MB)")
    spool.close()
    assert "0 reports wait" in look(tmp_path / "none").reason
    assert "in memory only" in look(None).reason
    segment = next((tmp_path / "spool").glob("*.segment"))
    segment.rename(tmp_path / "spool/000000000009.segment.new")
    segment.mkdir()
    assert look(tmp_path / "spool").state == UNREADABLE
