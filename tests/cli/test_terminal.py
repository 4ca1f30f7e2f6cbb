"""What a terminal is shown cannot drive it."""

from joulebook.cli.terminal import printable


def test_text_from_elsewhere_cannot_drive_the_terminal() -> None:
    """Escapes and line ends in a name are replaced."""
    assert printable("a\x1b[2Jb\nc é") == "a�[2Jb�c é"
