"""What schedulers tell of a job is merged to the same, whoever tells it twice or too late."""

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.store.scheduled import NAMES, Scheduled, merged, news

RAN = Scheduled(user="ada", state="RUNNING", start_us=10)
ENDED = Scheduled(state="FAILED", start_us=10, end_us=20, exit_status=3)
_KINDS = {
    "str": st.sampled_from(["", "a", "b"]),
    "int": st.integers(0, 3),
    "int | None": st.none() | st.integers(0, 3),
}
ANY = st.builds(Scheduled, **{field.name: _KINDS[str(field.type)] for field in fields(Scheduled)})


@given(ANY, ANY)
def test_the_last_word_counts_and_silence_takes_nothing_back(known: Scheduled, told: Scheduled) -> None:
    """Each fact is the one that was told last, or the one before, and what runs again has no end yet."""
    found = merged(known, told)
    again = told.start_us is not None and told.end_us is None and known.end_us is not None
    for name in NAMES:
        before, said, after = (getattr(one, name) for one in (known, told, found))
        if again and name in ("state", "end_us", "exit_status"):
            continue
        assert after == (before if said in ("", None) else said)
    assert merged(found, told) == found
    assert merged(None, told) == told


def test_a_start_that_is_told_after_the_end_is_of_an_earlier_time() -> None:
    """A hook that is late, or an answer that was under way, takes no end back."""
    for told in (RAN, replace(RAN, exit_status=0)):
        found = merged(merged(None, ENDED), told)
        assert (found.state, found.end_us, found.exit_status, found.user) == ("FAILED", 20, 3, "ada")


def test_a_job_that_runs_again_has_not_ended() -> None:
    """A start after the end is another run: requeued jobs keep their number."""
    found = merged(ENDED, replace(RAN, start_us=20))
    assert (found.state, found.start_us, found.end_us, found.exit_status) == ("RUNNING", 20, None, None)


def test_what_was_known_is_no_news() -> None:
    """What only says again what is known is not written again; another job's is."""
    known = {"slurm.1": replace(ENDED, told_us=5)}
    again = {"slurm.1": replace(ENDED, told_us=9), "slurm.2": replace(RAN, told_us=9)}
    assert news(known, again) == {"slurm.2": replace(RAN, told_us=9)}
    assert news(known, {"slurm.1": Scheduled(account="chem", told_us=9)}) == {
        "slurm.1": replace(ENDED, account="chem", told_us=9)
    }
