"""Credentials become a header; what is no credential is refused without being shown."""

from pathlib import Path

import pytest

from joulebook.collector.credentials import CredentialsError, authorization


@pytest.mark.parametrize(
    ("held", "expected"),
    [("ada:hush\n", "Basic YWRhOmh1c2g="), ("abc.def\n", "Bearer abc.def"), ("ada:é", "Basic YWRhOsOp")],
)
def test_header(tmp_path: Path, held: str, expected: str) -> None:
    """user:password is sent as basic, anything else as a token of the scheme named."""
    file = tmp_path / "secret"
    file.write_text(held)
    assert authorization(str(file), key="x.y", token="Bearer") == expected
    assert authorization("", key="x.y", token="Bearer") == ""


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"", "expected one line"),
        (b"hush\nhush", "expected one line"),
        (b"hu\rsh", "expected one line"),
        ("hüsh".encode(), "expected a token in ASCII"),
        (b"hush\xff", "cannot be read (not text)"),
    ],
)
def test_refusals(tmp_path: Path, held: bytes, said: str) -> None:
    """What a header cannot carry is refused by its file's name, and never shown."""
    file = tmp_path / "secret"
    file.write_bytes(held)
    with pytest.raises(CredentialsError) as refused:
        authorization(str(file), key="x.y", token="Bearer")
    assert str(refused.value).startswith(f"x.y = {str(file)!r}: ")
    assert said in str(refused.value)
    assert "hush" not in str(refused.value).replace(str(file), "")
