"""Which errors may pass when the same call is made again: a decision about the error alone, without I/O."""

from __future__ import annotations

import ssl
from enum import Enum

from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ClientBulkWriteException,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)

from async_mongo_pool.errors import PoolError

__all__ = ["RETRYABLE_CODES", "Verdict", "judge"]

RETRYABLE_CODES = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)
"""The codes of the retryable reads specification: the server says that it may do later what it refused now."""

_TRANSACTION_LABELS = ("TransientTransactionError", "UnknownTransactionCommitResult")
_RETRYABLE_LABELS = ("RetryableWriteError", "RetryableError")
_OVERLOADED = "SystemOverloadedError"

_NEVER = (
    PoolError,
    # The write was done, perhaps by the attempt before; or a part of it was.
    DuplicateKeyError,
    BulkWriteError,
    ClientBulkWriteException,
    # The time limit was the caller's own.
    ExecutionTimeout,
)


class Verdict(Enum):
    """What an error says about another attempt."""

    TRANSIENT = "transient"
    """The same call may succeed in a moment."""
    OVERLOADED = "overloaded"
    """The server rejected the command because it has too much to do, after the driver's own retries."""
    TRANSACTION = "transaction"
    """Only the whole transaction can be repeated, which is for ``with_transaction`` to do."""
    PERMANENT = "permanent"
    """Everything else: it will not pass by itself."""


def judge(error: BaseException) -> Verdict:
    """What an error says about another attempt.

    A network error is transient whatever its labels: the driver puts the overload label on every connection that
    could not be established, a refused one of a server that restarts included
    (``pymongo.pool_shared._handle_connection_error``). A *command* that an overloaded server rejected was tried
    again by the driver already, with its backoff, ``max_adaptive_retries`` times; the Client Backpressure
    specification asks applications to keep their own retries from multiplying those.

    Args:
        error: Whatever the call raised.
    """
    if not isinstance(error, PyMongoError):
        return Verdict.PERMANENT
    if any(map(error.has_error_label, _TRANSACTION_LABELS)):
        return Verdict.TRANSACTION
    if isinstance(error, _NEVER):
        return Verdict.PERMANENT
    if isinstance(error, AutoReconnect):
        # A certificate that cannot be trusted is a matter of configuration.
        untrusted = isinstance(error.__cause__, ssl.SSLCertVerificationError)
        return Verdict.PERMANENT if untrusted else Verdict.TRANSIENT
    if not isinstance(error, OperationFailure):
        # A full wait queue among them: who waits again is what fills it.
        return Verdict.PERMANENT
    if error.has_error_label(_OVERLOADED):
        return Verdict.OVERLOADED
    retryable = error.code in RETRYABLE_CODES or any(map(error.has_error_label, _RETRYABLE_LABELS))
    return Verdict.TRANSIENT if retryable else Verdict.PERMANENT
