"""Why a pool could not be opened, in words a person can act on, without its secrets."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pymongo.errors import ConfigurationError, ConnectionFailure, WaitQueueTimeoutError

from .config import Redactor
from .config.guard import forget_locals
from .errors import PoolConfigurationError, PoolError, PoolStartTimeoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import ClientSettings

__all__ = ["explain_failure", "for_log", "is_unreachable"]

ErrorT = TypeVar("ErrorT", bound=BaseException)

_UNTRUSTED = r"CERTIFICATE_VERIFY_FAILED"

_NO_NAME_SERVER = r"resolution lifetime expired|[Aa]ll nameservers failed|The DNS operation timed out"
"""What dnspython says of an SRV record while no name server answers: not that there is no such record."""

_NO_ANSWER = "the server does not answer: check the address, firewalls and whether it is overloaded"

# What the text shows, the stage in which that happens, and the cure.
_CURES: tuple[tuple[str, str, str], ...] = (
    (
        r"Authentication failed|[Aa]uthentication (for )?mechanism|x\.509 .*user|SASLPREP|saslprep",
        "authentication",
        "check the user name, the password and authSource, and authMechanism where it is given",
    ),
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
    (
        r"(Hostname|IP address) mismatch",
        "TLS",
        "the server's certificate is for other host names: connect by one that it holds",
    ),
    (r"certificate has expired", "TLS", "the server's certificate has expired: it must be renewed"),
    (
        rf"resolving the (host name|SRV record)|{_NO_NAME_SERVER}",
        "DNS",
        "the name servers do not answer: check the DNS of this host or container",
    ),
    (_UNTRUSTED, "TLS", "the server's certificate is not trusted: set tlsCAFile to its authority"),
    (
        r"Private key|PEM lib|key values mismatch",
        "TLS",
        "check tlsCertificateKeyFile (key and certificate in one PEM file) and tlsCertificateKeyFilePassword",
    ),
    (
        r"SSL|TLS",
        "TLS",
        "one side speaks TLS and the other does not, or they do not agree: check tls=true and tlsCAFile",
    ),
    (r"connection (is already )?closed|Connection reset", "connect", "if the server requires TLS, set tls=true"),
    (r"DNS (operation|query)|SRV", "DNS", "check the SRV record of the cluster's host name"),
    # Of none of them even one heartbeat has ended.
    (r"No servers found yet", "connect", _NO_ANSWER),
    (
        r"No (replica set members|primary|servers?) (found|available|match)|Primary\(",
        "server selection",
        "servers answer, but none that may be used: check replicaSet, the read preference and the set's state",
    ),
    (r"timed out", "connect", _NO_ANSWER),
)


def is_unreachable(error: BaseException) -> bool:
    """Whether an error says that no server can be reached now, which may change by itself.

    Wrong credentials, a wrong configuration and a certificate that is not trusted do not. Name servers that are
    silent are none of these, although the driver calls what it meets with an SRV record a wrong configuration.
    A wrong ``replicaSet`` and TLS on one side only count as unreachable: a set that is being initiated and a
    server that is being set up look the same.
    """
    if isinstance(error, ConfigurationError):
        return re.search(_NO_NAME_SERVER, str(error)) is not None
    reached = isinstance(error, WaitQueueTimeoutError) or re.search(_UNTRUSTED, str(error))
    return isinstance(error, ConnectionFailure) and not reached


def explain_failure(
    pool: str,
    error: Exception,
    settings: ClientSettings | None,
    seconds: float = 0.0,
    known: Sequence[ClientSettings] = (),
) -> Exception:
    """The same error, of the same type, with its cure and without secrets.

    Args:
        pool: The pool's name.
        error: What the driver, or the pool, raised.
        settings: The configuration that was tried; None if it could not even be resolved.
        seconds: For how long it was tried.
        known: The configurations that the pool has open, whose secrets the error may quote as well.

    Returns:
        A new exception to raise ``from None``; an error of our own is returned as it is, and so is one of a
        callable of the user's that quotes no connection string.
    """
    if isinstance(error, OSError) and (option := _option_of_file(error, settings)) is not None:
        return PoolConfigurationError.bad_value(
            option, repr(error.filename), error.strerror or "", "a readable file"
        )
    ours = isinstance(error, PoolError) and not isinstance(error, PoolStartTimeoutError)
    if ours:
        return error
    if settings is None:
        return _of_the_user(error, known)
    clean = _scrubbed(error, (settings, *known))
    text = str(clean)
    stage, cure = next(((stage, cure) for pattern, stage, cure in _CURES if re.search(pattern, text)), ("", ""))
    advice = f" ({cure})" if cure else ""
    where = f" in the stage {stage}" if stage else ""
    told = f"{pool} could not open {settings.masked_uri}{where} after {seconds:.1f} s: {text}{advice}"
    clean.args = (told, *clean.args[1:])
    return clean


def for_log(error: ErrorT, *settings: ClientSettings) -> ErrorT:
    """An error of a callback of the user's as it may be logged with its traceback.

    Args:
        error: What it raised; its frames are emptied, because log tools render what they hold.
        *settings: The configurations whose secrets it may know.

    Returns:
        An exception of the same type with the same traceback, its text without secrets.
    """
    forget_locals(error)
    return _scrubbed(error, settings).with_traceback(error.__traceback__)


def _scrubbed(error: ErrorT, settings: Sequence[ClientSettings]) -> ErrorT:
    one = settings[0].redactor if len(settings) == 1 else Redactor.of_all(each.redactor for each in settings)
    return one.scrub_exception(error)


def _of_the_user(error: Exception, known: Sequence[ClientSettings]) -> Exception:
    """An error of the user's own callable, which may quote the connection string that it could not give."""
    clean = _scrubbed(error, known)
    # A foreign repr may raise anything; such an error is not handed on either.
    with suppress(Exception):
        if _shown(clean) == _shown(error):
            return error
    # A frame may hold the error itself, or a future that shows it.
    forget_locals(error)
    return clean.with_traceback(error.__traceback__)


def _shown(error: BaseException | None, depth: int = 8) -> str:
    if error is None or not depth:
        return ""
    causes = _shown(error.__cause__, depth - 1) + _shown(error.__context__, depth - 1)
    return f"{error!r} {error} {vars(error)}{causes}"


def _option_of_file(error: OSError, settings: ClientSettings | None) -> str | None:
    """Which option named the file that cannot be read; the driver reads them when it makes a client."""
    names = ("tlsCAFile", "tlsCertificateKeyFile", "tlsCRLFile")
    return next((n for n in names if settings and error.filename and settings.value(n) == error.filename), None)
