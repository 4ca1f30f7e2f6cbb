"""Credentials come from files that hold one line: user:password, or a token."""

from __future__ import annotations

import base64
from pathlib import Path


class CredentialsError(Exception):
    """A file that gives no credentials: which, and what was expected. It never tells what the file holds."""


def secret_of(file: str, *, key: str) -> str:
    """Return the one line that a file of credentials holds. key is the configuration's name of the file."""
    try:
        secret = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise CredentialsError(f"{key} = {file!r}: cannot be read ({why})") from None
    # Only what a header can carry; http.client and its kin show a header that they refuse.
    if not secret or not secret.isprintable():
        raise CredentialsError(f"{key} = {file!r}: expected one line, user:password or a token")
    return secret


def authorization(file: str, *, key: str, token: str) -> str:
    """Return the Authorization header that a file's credentials make; '' for no file.

    key is the configuration's name of the file; token is the scheme under which a token is sent.
    """
    if not file:
        return ""
    secret = secret_of(file, key=key)
    if ":" in secret:
        return "Basic " + base64.b64encode(secret.encode()).decode()
    if not secret.isascii():
        raise CredentialsError(f"{key} = {file!r}: expected a token in ASCII")
    return f"{token} {secret}"
