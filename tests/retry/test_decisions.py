"""Which errors may be tried again, for every error that the drivers and the pools have."""

from __future__ import annotations

import inspect
import ssl
from typing import Any

import pymongo.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

import async_mongo_pool.errors
from async_mongo_pool.errors import PoolClosingError, PoolError, PoolExhaustedError, PoolStartTimeoutError
from async_mongo_pool.retry.decisions import RETRYABLE_CODES, Verdict, judge

pytestmark = pytest.mark.core

LABELS = (
    "RetryableWriteError",
    "RetryableError",
    "SystemOverloadedError",
    "TransientTransactionError",
    "UnknownTransactionCommitResult",
    "NoWritesPerformed",
)


def failure(code: int, *labels: str) -> OperationFailure:
    return OperationFailure("refused", code, {"errorLabels": list(labels)})


def labelled(error: PyMongoError, *labels: str) -> PyMongoError:
    for label in labels:
        error._add_error_label(label)
    return error


def untrusted() -> AutoReconnect:
    error = AutoReconnect("SSL handshake failed")
    error.__cause__ = ssl.SSLCertVerificationError()
    return error


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("connection closed"),
        AutoReconnect("connection pool paused"),
        NetworkTimeout("timed out"),
        NotPrimaryError("not primary", {"code": 10107}),
        ServerSelectionTimeoutError("no primary"),
        *map(failure, sorted(RETRYABLE_CODES)),
        failure(64, "RetryableWriteError"),
        failure(999, "RetryableError"),
        labelled(AutoReconnect("connection refused"), "SystemOverloadedError", "RetryableError"),
    ],
    ids=repr,
)
def test_these_pass(error: Exception) -> None:
    assert judge(error) is Verdict.TRANSIENT


@pytest.mark.parametrize(
    "error",
    [
        WaitQueueTimeoutError("full"),
        PoolExhaustedError("full"),
        PoolStartTimeoutError("slow"),
        PoolClosingError("closing"),
        DuplicateKeyError("duplicate", 11000, {"errorLabels": ["RetryableWriteError"]}),
        BulkWriteError({"errorLabels": ["RetryableWriteError"]}),
        pymongo.errors.ClientBulkWriteException({"errorLabels": ["RetryableWriteError"]}, False),
        ConfigurationError("wrong"),
        InvalidOperation("closed"),
        ConnectionFailure("something"),
        ExecutionTimeout("slow", 50, {"errorLabels": ["RetryableWriteError"]}),
        failure(13),
        failure(18),
        failure(8000),
        failure(64),
        untrusted(),
        ValueError("the function's own"),
        OSError("the function's own"),
        TimeoutError("the function's own"),
    ],
    ids=repr,
)
def test_these_do_not(error: Exception) -> None:
    assert judge(error) is Verdict.PERMANENT


@pytest.mark.parametrize("code", [462, 91, 189])
def test_a_command_that_an_overloaded_server_rejected_was_retried_by_the_driver(code: int) -> None:
    assert judge(failure(code, "SystemOverloadedError", "RetryableError")) is Verdict.OVERLOADED
    assert judge(failure(code, "SystemOverloadedError")) is Verdict.OVERLOADED


@pytest.mark.parametrize("label", ["TransientTransactionError", "UnknownTransactionCommitResult"])
@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("connection closed"),
        ServerSelectionTimeoutError("none"),
        failure(91),
        failure(251),
        WaitQueueTimeoutError("full"),
        WriteConcernError("not yet", 64, {}),
    ],
    ids=repr,
)
def test_in_a_transaction_with_transaction_decides(error: PyMongoError, label: str) -> None:
    assert judge(labelled(error, label, "RetryableWriteError")) is Verdict.TRANSACTION


@given(st.integers(0, 20_000), st.sets(st.sampled_from(LABELS)))
def test_a_refusal_is_tried_again_for_a_label_or_a_code_alone(code: int, labels: set[str]) -> None:
    verdict = judge(failure(code, *labels))
    if labels & {"TransientTransactionError", "UnknownTransactionCommitResult"}:
        assert verdict is Verdict.TRANSACTION
    elif "SystemOverloadedError" in labels:
        assert verdict is Verdict.OVERLOADED
    else:
        named = bool(labels & {"RetryableWriteError", "RetryableError"}) or code in RETRYABLE_CODES
        assert (verdict is Verdict.TRANSIENT) == named


def every_error(module: Any, base: type[BaseException]) -> list[type[BaseException]]:
    found = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, base)]
    return sorted(found, key=lambda each: each.__name__)


@pytest.mark.parametrize("kind", every_error(async_mongo_pool.errors, PoolError))
def test_no_error_of_the_pools_is_tried_again(kind: type[PoolError]) -> None:
    assert judge(kind("something")) is Verdict.PERMANENT


@pytest.mark.parametrize("kind", every_error(pymongo.errors, PyMongoError))
def test_only_a_lost_connection_is_tried_again_for_its_kind_alone(kind: type[PyMongoError]) -> None:
    error = kind.__new__(kind)
    # Without the constructors, which differ: no code, no labels, no details.
    error.__dict__.update({"_error_labels": set(), "_OperationFailure__code": None})
    assert (judge(error) is Verdict.TRANSIENT) == issubclass(kind, AutoReconnect)
