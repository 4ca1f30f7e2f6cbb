"""A backup's description that is not what was written is refused, saying so."""

import contextlib
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.backup.manifest import NAME, BackupError, read, verify
from tests.simulated.garbage import ANY, spoilt, spoilt_bytes

_SOUND: dict[str, Any] = {
    "format": 1,
    "joulebook": "1.0",
    "made_unix_us": 1,
    "schema_version": 12,
    "files": [
        {"name": "store.duckdb", "bytes": 5, "sha256": "00"},
        {"name": "a/b", "bytes": 0, "sha256": ""},
    ],
    "newest": [{"node": "n1", "boot": "00", "end_us": 1, "end_unix_us": 2}],
    "booked_uj": {"n1": 7},
}


@given(
    (spoilt(_SOUND) | ANY).map(lambda said: json.dumps(said).encode())
    | spoilt_bytes(json.dumps(_SOUND).encode())
    | st.binary(max_size=40)
)
def test_any_manifest_is_read_or_refused(tmp_path: Path, said: bytes) -> None:
    """Whatever stands in a manifest, it is read and its files compared, or a BackupError says why not."""
    (tmp_path / NAME).write_bytes(said)
    with contextlib.suppress(BackupError):
        manifest = read(tmp_path)
        assert manifest.total_bytes is not None
        verify(manifest, tmp_path)
