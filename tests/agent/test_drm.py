"""Numbers of GPUs' device files."""

from pathlib import Path

from joulebook.agent.drm import CARD, RENDER, minors


def test_names_tell_the_numbers_of_their_kinds(tmp_path: Path) -> None:
    """Connectors, controls and other names are no device files; a device without any has no number."""
    for name in ("card1", "renderD129", "card1-HDMI-A-1", "controlD65", "version", "card" + "9" * 30):
        (tmp_path / "drm" / name).mkdir(parents=True)
    assert minors(tmp_path, CARD) == [1]
    assert sorted(minors(tmp_path, CARD, RENDER)) == [1, 129]
    assert minors(tmp_path / "gone", CARD, RENDER) == []
