"""The client's key file, looked at before the driver opens it: OpenSSL asks the terminal for its password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import PoolConfigurationError

if TYPE_CHECKING:
    from .config import ClientSettings

__all__ = ["refuse_a_locked_key"]

_ENCRYPTED = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
_LARGEST = 1 << 20


def refuse_a_locked_key(settings: ClientSettings) -> None:
    """Refuse an encrypted key without its password: asked for one, OpenSSL waits at the terminal for ever.

    Args:
        settings: What is to be opened.

    Raises:
        PoolConfigurationError: It names the option that is missing.
    """
    path = settings.value("tlsCertificateKeyFile")
    if not isinstance(path, str) or settings.value("tlsCertificateKeyFilePassword") is not None:
        return
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST)
    except OSError:
        # The driver says so when it opens it.
        return
    if any(mark in content for mark in _ENCRYPTED):
        raise PoolConfigurationError(
            f"tlsCertificateKeyFile={path!r} holds an encrypted key: give tlsCertificateKeyFilePassword too."
        )
