"""Whatever a segment's bytes are, only what was written comes out of them."""

from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.spool import records
from joulebook.agent.spool.records import Damage, Kind, Record, State

PAYLOADS = st.lists(
    st.tuples(st.sampled_from(Kind), st.binary(max_size=60), st.sampled_from(State)), min_size=1, max_size=8
)
Written = list[tuple[Kind, bytes, State]]


def _segment(written: Written) -> bytes:
    return records.header() + b"".join(records.encode(*one) for one in written)


def _found(data: bytes) -> Written:
    return [(Kind(r.kind), r.payload, r.state) for r in records.scan(data) if isinstance(r, Record)]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_hold_nothing(data: bytes) -> None:
    """Bytes that nobody wrote give no record, and what is stepped over adds up to all of them."""
    for prefix in (b"", records.header(), records.encode(Kind.REPORT, b"x")[:20]):
        whole = prefix + data
        found = list(records.scan(whole))
        begin = records.HEADER_BYTES if whole.startswith(records.header()[:16]) else 0
        assert sum(one.length for one in found if isinstance(one, Damage)) == max(0, len(whole) - begin)
        assert not _found(whole)


@settings(max_examples=300, deadline=None)
@given(PAYLOADS, st.data())
def test_a_cut_segment_loses_only_its_end(written: Written, data: st.DataObject) -> None:
    """Cut anywhere, a segment gives every record that is whole, and none that is not."""
    whole = _segment(written)
    cut = data.draw(st.integers(0, len(whole)))
    ends, at = [], records.HEADER_BYTES
    for _, payload, _ in written:
        at += records.RECORD_BYTES + len(payload)
        ends.append(at)
    assert _found(whole[:cut]) == [one for one, end in zip(written, ends, strict=True) if end <= cut]


@settings(max_examples=500, deadline=None)
@given(PAYLOADS, st.data())
def test_a_changed_byte_costs_one_record(written: Written, data: st.DataObject) -> None:
    """A changed byte costs the record that it is in, or makes it look sent; the others are as they were."""
    whole = bytearray(_segment(written))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    begin = records.HEADER_BYTES
    expected: list[list[tuple[Kind, bytes, State]]] = []
    for kind, payload, state in written:
        end = begin + records.RECORD_BYTES + len(payload)
        if begin <= place < end:
            state_at = begin + records.STATE_OFFSET
            expected.append([(kind, payload, State.SENT)] if state_at <= place < state_at + 4 else [])
        else:
            expected.append([(kind, payload, state)])
        begin = end
    assert _found(bytes(whole)) == [one for some in expected for one in some]


def test_another_format_is_named() -> None:
    """A header of another version is refused by its number; one that is merely damaged is none."""
    later = bytearray(records.header())
    later[16] = 9
    assert not records.has_header(bytes(later))
    later[24:32] = blake2b(records.header()[:16] + b"\x09\0\0\0", digest_size=8).digest()
    with pytest.raises(records.VersionError, match="format 9, expected 1"):
        records.has_header(bytes(later))
    assert records.has_header(records.header())
