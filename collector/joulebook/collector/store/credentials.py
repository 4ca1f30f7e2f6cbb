"""Credentials for a server that is a store."""

from __future__ import annotations

from joulebook.collector import credentials
from joulebook.collector.credentials import CredentialsError
from joulebook.collector.store.protocol import StoreError


def authorization(file: str, *, token: str = "Token") -> str:
    """Return the Authorization header that a file's credentials make; '' for no file.

    The file holds user:password or a token, which is sent under the scheme that is named. Raises StoreError.
    """
    try:
        return credentials.authorization(file, key="collector.store_credentials", token=token)
    except CredentialsError as error:
        raise StoreError(str(error)) from error
