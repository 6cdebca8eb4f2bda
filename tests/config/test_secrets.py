"""Secrets: every form of them is found, exceptions keep everything else, tracebacks and pickles hold none."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import ssl
from typing import Any, ClassVar
from urllib.parse import quote, quote_plus

import pytest
from pymongo.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    EncryptionError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from async_mongo_pool.config import PoolConfig, Redactor, Secret, resolve
from async_mongo_pool.config.secrets_in import secrets_in
from async_mongo_pool.errors import PoolConfigurationError

from .leaks import forms, found, shown_by_error, shown_by_settings

pytestmark = pytest.mark.core

SECRET = "p@ss/w'or\"d\\ü %\n€😀"
HIDDEN = "SENT1NEL-token"


def mixed(secret: str) -> str:
    return "".join(quote(letter, safe="") if index % 2 else letter for index, letter in enumerate(secret))


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        quote(SECRET, safe="").lower(),
        quote(quote(SECRET, safe=""), safe=""),
        mixed(SECRET),
        repr(SECRET)[1:-1],
        repr(repr(SECRET))[3:-3],
        ascii(SECRET)[1:-1],
        json.dumps(SECRET)[1:-1],
        repr(SECRET.encode())[2:-1],
        "".join(f"%{byte:02X}" for byte in SECRET.encode()),
    ],
)
def test_every_form_of_a_secret_is_masked(form: str) -> None:
    clean = Redactor([SECRET]).scrub(f"before {form} after")
    assert clean == "before *** after"


def test_of_two_secrets_the_longer_goes_first() -> None:
    assert Redactor(["secret", "secret-longer"]).scrub("secret-longer secret") == "*** ***"


@pytest.mark.parametrize(
    ("secret", "text", "clean"),
    [
        (
            "a",
            "a bad password for alpha at mongodb://u:a@host",
            "*** bad password for alpha at mongodb://u:***@host",
        ),
        ("ab1", "tab1 ab1 'ab1' ab12", "tab1 *** '***' ab12"),
        (":", "mongodb://h:1/", "mongodb://h:1/"),
        (":", "mongodb://u::@h", "mongodb://u:***@h"),
        (":", "password=':'", "password='***'"),
        ("", "nothing", "nothing"),
    ],
)
def test_a_very_short_secret_is_masked_where_it_stands_alone(secret: str, text: str, clean: str) -> None:
    assert Redactor([secret]).scrub(text) == clean


class Stubborn(PyMongoError):
    def __init__(self, required: str, other: int) -> None:
        super().__init__(f"{required} {other}")
        self.other = other


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Holder:
    def __repr__(self) -> str:
        return HIDDEN


def nested() -> Exception:
    try:
        try:
            raise ValueError(f"inner {HIDDEN}")
        except ValueError as error:
            raise ConfigurationError(f"outer {HIDDEN}") from error
    except ConfigurationError as error:
        error.add_note(f"note {HIDDEN}")
        return error


ERRORS: list[Exception] = [
    ValueError(f"bad {HIDDEN}", 3),
    KeyError(HIDDEN),
    OSError(2, f"no {HIDDEN}", f"/run/{HIDDEN}"),
    ssl.SSLError(1, f"no {HIDDEN}"),
    UnicodeDecodeError("utf-8", b"\xff" + HIDDEN.encode(), 0, 1, "bad"),
    ImportError(f"no {HIDDEN}", name="x", path=HIDDEN),
    InvalidURI(f'Bad database name "{HIDDEN}"'),
    OperationFailure(f"no {HIDDEN}", 18, {"errmsg": HIDDEN, "list": [{"deep": (HIDDEN, HIDDEN.encode())}]}, 9),
    DuplicateKeyError("dup", 11000, {"keyValue": {HIDDEN: 1}}),
    BulkWriteError({"writeErrors": [{"errmsg": HIDDEN}]}),
    AutoReconnect("x", {"errors": [OperationFailure(HIDDEN)]}),
    ServerSelectionTimeoutError(f"h:27017: {HIDDEN}", [HIDDEN]),
    EncryptionError(ValueError(HIDDEN)),
    Stubborn(HIDDEN, 3),
    ExceptionGroup(f"group {HIDDEN}", [ValueError(HIDDEN)]),
    RuntimeError(Unprintable()),
    RuntimeError(Holder()),
    nested(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_exception_keeps_its_type_and_loses_its_secrets(error: Exception) -> None:
    clean = Redactor([HIDDEN]).scrub_exception(error)
    assert type(clean) is type(error)
    assert not found([HIDDEN], shown_by_error(clean))
    assert clean.__traceback__ is None
    if not isinstance(error.args[0] if error.args else None, Unprintable):
        assert str(clean) == str(error).replace(HIDDEN, "***")


def test_the_drivers_attributes_survive() -> None:
    redactor = Redactor([HIDDEN])
    failure = redactor.scrub_exception(OperationFailure(f"no {HIDDEN}", 18, {"errmsg": HIDDEN, "ok": 0.0}, 9))
    assert (failure.code, failure.details, failure._max_wire_version) == (18, {"errmsg": "***", "ok": 0.0}, 9)
    late = redactor.scrub_exception(ServerSelectionTimeoutError("x", {"errorLabels": ["Retry"]}))
    assert late.timeout is True
    assert late.has_error_label("Retry")
    missing = redactor.scrub_exception(FileNotFoundError(2, "No such file", f"/x/{HIDDEN}"))
    assert (missing.errno, missing.filename) == (2, "/x/***")
    assert isinstance(redactor.scrub_exception(nested()).__cause__, ValueError)


def test_a_cycle_of_causes_ends() -> None:
    one, two = ValueError(HIDDEN), ValueError(HIDDEN)
    one.__context__, two.__context__ = two, one
    assert not found([HIDDEN], shown_by_error(Redactor([HIDDEN]).scrub_exception(one)))


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(HIDDEN)
    assert {repr(secret), str(secret), f"{secret:>3}", "%s" % secret} == {"***"}  # noqa: UP031 (the old form too)
    assert copy.deepcopy({"a": secret})["a"] is secret
    assert secret == Secret(HIDDEN)
    assert secret != Secret("x")
    assert secret != HIDDEN


class Callback(OIDCCallback):
    def __init__(self) -> None:
        self.token = HIDDEN

    def __repr__(self) -> str:
        return f"Callback({self.token})"

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        return OIDCCallbackResult(access_token=self.token)


class FakeEncryption:
    """Stands for AutoEncryptionOpts, whose constructor asks for pymongocrypt."""

    _kms_providers: ClassVar = {
        "aws": {"accessKeyId": "public-key", "secretAccessKey": HIDDEN},
        "local": {"key": b"k" * 96},
    }
    _kms_tls_options: ClassVar = {
        "kmip": {"tlsCertificateKeyFilePassword": f"{HIDDEN}-tls", "tlsCAFile": "ca.pem"}
    }
    _mongocryptd_uri = f"mongodb://u:{HIDDEN}-uri@h"


WITH_SECRETS: list[tuple[str, dict[str, Any]]] = [
    (f"mongodb://u:{HIDDEN}@h", {}),
    (f"mongodb://{HIDDEN}:{HIDDEN}@h", {}),
    ("mongodb://h", {"username": "u", "password": HIDDEN}),
    ("mongodb://h", {"tlsCertificateKeyFilePassword": HIDDEN}),
    (f"mongodb://h/?tlsCertificateKeyFilePassword={HIDDEN}", {}),
    (
        f"mongodb://k:{HIDDEN}2@h/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{HIDDEN}",
        {},
    ),
    ("mongodb://h", {"authMechanism": "MONGODB-OIDC", "authMechanismProperties": {"OIDC_CALLBACK": Callback()}}),
    (f"mongodb://u:{HIDDEN}@h", {"password": "other-secret"}),
]


@pytest.mark.parametrize(("uri", "options"), WITH_SECRETS)
def test_settings_show_no_secret(uri: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    settings = resolve(uri, options, environ={})
    assert not found([HIDDEN], shown_by_settings(settings))
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").info("%s %r %s", settings, settings.explain(), settings.client_options)
    assert HIDDEN not in caplog.text
    if "OIDC" not in str(options):
        assert settings.redactor.scrub(f"x {HIDDEN} y") == "x *** y"


@pytest.mark.parametrize(("uri", "options"), WITH_SECRETS)
def test_errors_hold_no_secret_even_in_local_variables(uri: str, options: dict[str, Any]) -> None:
    for broken in (
        {"maxPoolSize": HIDDEN},
        {"maxPoolSize": "x"},
        {"password2": HIDDEN},
        {"journal": True, "w": 0},
    ):
        with pytest.raises(PoolConfigurationError) as caught:
            resolve(uri, {**options, **broken}, environ={"MONGODB_URI": uri})
        shown = shown_by_error(caught.value)
        if HIDDEN not in broken.values() or "password" in shown or HIDDEN in uri:
            assert not found([HIDDEN], shown), shown


def test_the_secrets_of_encryption_options_are_known() -> None:
    redactor = Redactor(secrets_in("auto_encryption_opts", FakeEncryption()))
    for secret in (HIDDEN, f"{HIDDEN}-tls", f"{HIDDEN}-uri", "k" * 96):
        assert redactor.scrub(f"x {secret} y") == "x *** y"
    assert redactor.scrub("public-key ca.pem") == "public-key ca.pem"


@pytest.mark.parametrize(
    "build",
    [
        lambda: PoolConfig.local("a b", password=HIDDEN, username="u"),
        lambda: PoolConfig.local("h", "x", password=HIDDEN, username="u"),
        lambda: PoolConfig.local("h", password=HIDDEN),
        lambda: PoolConfig.local(f"u:{HIDDEN}@h"),
        lambda: PoolConfig.local(f"mongodb:/u:{HIDDEN}@/run/m.sock"),
        lambda: PoolConfig(mongo_uri=f"mongodb://u%3A{HIDDEN}%40%2Frun%2Fm.sock").explain({}),
        lambda: PoolConfig.replica_set("", "n", password=HIDDEN, username="u"),
        lambda: PoolConfig.atlas(username="u", password=HIDDEN),
        lambda: PoolConfig.atlas(username="u", password=HIDDEN, cluster=f"mongodb+srv://u:{HIDDEN}@h"),
        lambda: PoolConfig.from_env(environ={"MONGO_PASSWORD": HIDDEN, "MONGO_PORT": "x", "MONGO_USERNAME": "u"}),
        lambda: PoolConfig.from_env(environ={"MONGO_URI": f"mongodb://u:{HIDDEN}/@h"}),
        lambda: PoolConfig.from_env(environ={"MONGO_HOST": f"mongodb://u:{HIDDEN}@h"}),
        lambda: PoolConfig(mongo_uri=f"mongodb://u:{HIDDEN}@h", max_pool_size=-1).explain({}),
        lambda: PoolConfig(mongo_uri=f"mongodb://u:{HIDDEN}@h").replace(pasword=HIDDEN),
        lambda: PoolConfig.production(f"mongodb://u:{HIDDEN}@h", w=-1).explain({}),
    ],
)
def test_builders_fail_without_showing_a_secret(build: Any) -> None:
    with pytest.raises(PoolConfigurationError) as caught:
        build()
    assert not found([HIDDEN], shown_by_error(caught.value))


def test_the_forms_that_the_tests_look_for_are_many() -> None:
    assert len(forms(SECRET)) >= 4
    assert pickle.loads(pickle.dumps(PoolConfig(password=SECRET))).withheld == ("password",)  # noqa: S301 (our own)
