"""How things are named on the wire."""

from __future__ import annotations

import hashlib


def layout_hash(serialized: bytes) -> int:
    """Return the name of a Layout: BLAKE2b-64 of its bytes, big endian."""
    return int.from_bytes(hashlib.blake2b(serialized, digest_size=8).digest(), "big")
