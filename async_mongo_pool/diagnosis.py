"""Why a pool could not be opened, in words a person can act on, without its secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pymongo.errors import ConnectionFailure, WaitQueueTimeoutError

from .errors import PoolConfigurationError, PoolError, PoolStartTimeoutError

if TYPE_CHECKING:
    from .config import ClientSettings

__all__ = ["explain_failure", "is_unreachable"]

_UNTRUSTED = r"CERTIFICATE_VERIFY_FAILED"

# What the text shows, the stage in which that happens, and the cure.
_CURES: tuple[tuple[str, str, str], ...] = (
    (r"Authentication failed", "authentication", "check the user name, the password and authSource"),
    # asyncio words a refusal as "Connect call failed", with the system's error number before it.
    (
        r"Connection refused|actively refused|Errno (111|61|10061)\]",
        "connect",
        "the connection was refused: check the host and port, and that mongod is running there",
    ),
    (
        r"Name or service not known|nodename nor servname|getaddrinfo|No address associated|name resolution",
        "DNS",
        "the host name does not resolve: check its spelling and the DNS",
    ),
    (_UNTRUSTED, "TLS", "the server's certificate is not trusted: set tlsCAFile to its authority"),
    (
        r"Private key|PEM lib|key values mismatch",
        "TLS",
        "check tlsCertificateKeyFile: key and certificate in one PEM file",
    ),
    (
        r"SSL|TLS",
        "TLS",
        "one side speaks TLS and the other does not, or they do not agree: check tls=true and tlsCAFile",
    ),
    (r"connection (is already )?closed|Connection reset", "connect", "if the server requires TLS, set tls=true"),
    (r"DNS (operation|query)|SRV", "DNS", "check the SRV record of the cluster's host name"),
    (
        r"No (replica set members|primary|servers?) (found|available|match)|Primary\(",
        "server selection",
        "servers answer, but none that may be used: check replicaSet, the read preference and the set's state",
    ),
    (
        r"timed out",
        "connect",
        "the server does not answer: check the address, firewalls and whether it is overloaded",
    ),
)


def is_unreachable(error: BaseException) -> bool:
    """Whether an error says that no server can be reached now, which may change by itself.

    Wrong credentials, a wrong configuration and a certificate that is not trusted do not.
    """
    reached = isinstance(error, WaitQueueTimeoutError) or re.search(_UNTRUSTED, str(error))
    return isinstance(error, ConnectionFailure) and not reached


def explain_failure(
    pool: str, error: Exception, settings: ClientSettings | None, seconds: float = 0.0
) -> Exception:
    """The same error, of the same type, with its cure and without secrets.

    Args:
        pool: The pool's name.
        error: What the driver, or the pool, raised.
        settings: The configuration that was tried; None if it could not even be resolved.
        seconds: For how long it was tried.

    Returns:
        A new exception to raise ``from None``; an error of our own is returned as it is.
    """
    if isinstance(error, OSError) and (option := _option_of_file(error, settings)) is not None:
        return PoolConfigurationError.bad_value(
            option, repr(error.filename), error.strerror or "", "a readable file"
        )
    ours = isinstance(error, PoolError) and not isinstance(error, PoolStartTimeoutError)
    if ours or settings is None:
        return error
    clean = settings.redactor.scrub_exception(error)
    text = str(clean)
    stage, cure = next(((stage, cure) for pattern, stage, cure in _CURES if re.search(pattern, text)), ("", ""))
    advice = f" ({cure})" if cure else ""
    where = f" in the stage {stage}" if stage else ""
    told = f"{pool} could not open {settings.masked_uri}{where} after {seconds:.1f} s: {text}{advice}"
    clean.args = (told, *clean.args[1:])
    return clean


def _option_of_file(error: OSError, settings: ClientSettings | None) -> str | None:
    """Which option named the file that cannot be read; the driver reads them when it makes a client."""
    names = ("tlsCAFile", "tlsCertificateKeyFile", "tlsCRLFile")
    return next((n for n in names if settings and error.filename and settings.value(n) == error.filename), None)
