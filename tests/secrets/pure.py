"""Inputs that need no server: what is resolved, built, pickled, refused, or scrubbed."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient

from async_mongo_pool.config import PoolConfig, Redactor, mask_uri, resolve
from async_mongo_pool.config.secrets_in import secrets_in
from async_mongo_pool.diagnosis import explain_failure
from async_mongo_pool.errors import PoolConfigurationError

from . import material
from .record import Shown
from .sentinel import ENCODINGS, encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.config import ClientSettings

    from .record import Record

__all__ = ["KINDS"]

logger = logging.getLogger("tests.secrets")


def show_settings(record: Record, settings: ClientSettings) -> None:
    """Every way to look at a resolved configuration but ``uri``, which is for the driver."""
    logger.debug("%s %r", settings, settings)
    record.show("settings", settings, settings.client_options, settings.redactor, settings.key)
    record.show("masked address", settings.masked_uri)
    record.show("explain()", settings.explain())
    record.show("pool_config of the statistics", json.dumps(settings.pool_config, default=str))
    record.show("settings' warnings", settings.warnings)
    # Listeners are the user's own, and are what they are.
    names = (each.name for each in dataclasses.fields(settings) if each.name != "event_listeners")
    record.show("settings' fields", *(getattr(settings, name) for name in names))
    record.show("settings' values", *(settings.value(name) for name in ("password", "authMechanismProperties")))
    record.show(
        "settings' values", settings.value("tlsCertificateKeyFilePassword"), settings.value("proxyPassword")
    )
    record.show(
        "differing()", settings.differing(settings), settings.differing(resolve("mongodb://h", environ={}))
    )
    record.show("pickling, copying", copy.deepcopy(settings), copy.copy(settings))
    try:
        record.show("pickling, copying", pickle.dumps(settings))
    except TypeError as error:
        record.error(error)


def connection_strings(record: Record) -> None:
    """A connection string, and perhaps options beside it."""
    draw = record.draw
    text = material.address(record)
    options = {"password": record.secret(), "username": "v"} if draw.random() < 0.2 else {}
    options |= material.broken(record) if draw.random() < 0.3 else {}
    environ = {"MONGODB_URI": text} if draw.random() < 0.3 else {"MONGODB_MAX_POOL_SIZE": "9"}
    given = None if "MONGODB_URI" in environ else text
    record.show("mask_uri()", mask_uri(text))
    _resolved(record, lambda: resolve(given, options, environ=environ))


def all_options(record: Record) -> None:
    """Options with secrets, under every spelling, with and without a mistake beside them."""
    draw = record.draw
    options = material.options(record) | (material.broken(record) if draw.random() < 0.4 else {})
    text = material.address(record, valid=True) if draw.random() < 0.5 else "mongodb://h/db"
    if draw.random() < 0.5:
        _resolved(record, lambda: resolve(text, options, environ={}))
    else:
        _resolved(record, lambda: resolve(PoolConfig(mongo_uri=text, options=options), environ={}))


def drivers_clients(record: Record) -> None:
    """The driver's own client, as it shows itself, and what is made from it."""
    options: dict[str, Any] = record.draw.choice(
        (
            {"username": "u", "password": record.secret()},
            {"tlsCertificateKeyFilePassword": record.secret(), "tls": True},
            {
                "username": "u",
                "password": record.secret(),
                "authMechanism": "MONGODB-AWS",
                "authMechanismProperties": {"AWS_SESSION_TOKEN": record.secret()},
            },
        )
    )
    if options.get("authMechanism") == "MONGODB-AWS":
        text = "mongodb://h/?tls=true"
    else:
        text = f"mongodb://u:{encoded(record.secret(), 'quote', record.draw)}@h/db"
    try:
        settings = resolve(text, options, environ={})
    except PoolConfigurationError as error:
        record.error(error)
        return
    client: MongoClient[dict[str, Any]] = MongoClient(settings.uri, connect=False, **settings.client_options)
    record.show("the driver's client", client, client["db"], client["db"]["c"])
    client.close()


def _resolved(record: Record, call: Callable[[], ClientSettings]) -> None:
    try:
        settings = call()
    except PoolConfigurationError as error:
        record.error(error)
        return
    show_settings(record, settings)
    # Compiling the patterns is what takes longest here.
    if record.draw.random() < 0.3 and "OIDC_CALLBACK" not in str(settings.client_options):
        record.error(settings.redactor.scrub_exception(_quoting(settings)), outlet="scrubbed error")


def _quoting(settings: ClientSettings) -> Exception:
    """As the driver could quote the whole address and its arguments."""
    password = settings.value("password")
    options = {
        name: str(value) if isinstance(value, str) else value
        for name, value in settings.client_options.items()
        if not callable(value)
    }
    return ValueError(settings.uri, f"{options}", password.reveal() if password else None)


def pool_configs(record: Record) -> None:
    """A PoolConfig by each builder, and every way to look at it, copy it and pickle it."""
    environ = {"MONGO_PASSWORD": record.secret(), "MONGO_USERNAME": "u", "MONGO_HOST": "h"}
    try:
        config = _built(record, environ)
        if record.draw.random() < 0.2:
            config = config.replace(
                **record.draw.choice(({"password": record.secret()}, {"pasword": record.secret()}))
            )
    except PoolConfigurationError as error:
        record.error(error)
        return
    logger.debug("%s", config)
    record.show("PoolConfig", config, vars(config), config.given(), config.options)
    record.show("asdict, astuple", dataclasses.asdict(config), dataclasses.astuple(config))
    record.show("asdict, astuple", json.dumps(dataclasses.asdict(config), default=str))
    record.show("pickling, copying", copy.deepcopy(config), copy.copy(config))
    record.show("PoolConfig", config == copy.copy(config))
    _pickled(record, config)
    given = {"MONGODB_URI": material.address(record)} | environ if record.draw.random() < 0.5 else None
    try:
        record.show("explain()", config.explain({} if given is None else given))
    except PoolConfigurationError as error:
        record.error(error)


def _built(record: Record, environ: dict[str, str]) -> PoolConfig:
    draw, secret = record.draw, record.secret()
    # Objects of the user's are pickled and copied as they are.
    extra = material.options(record, objects=False) if draw.random() < 0.3 else {}
    extra.pop("username", None)
    extra.pop("password", None)
    makers: list[Callable[[], PoolConfig]] = [
        lambda: PoolConfig.local(username="u", password=secret, **extra),
        lambda: PoolConfig.local(f"u:{secret}@h", password=secret),
        lambda: PoolConfig.local("h", "x", username="u", password=secret, **extra),
        lambda: PoolConfig.replica_set(["a", "b:1"], "rs0", username="u", password=secret, **extra),
        lambda: PoolConfig.replica_set("", "n", username="u", password=secret),
        lambda: PoolConfig.atlas(username="u", password=secret, cluster="c.abc.mongodb.net", **extra),
        lambda: PoolConfig.atlas(username="u", password=secret, cluster=f"mongodb+srv://u:{secret}@h"),
        lambda: PoolConfig.production(material.address(record), **extra),
        lambda: PoolConfig.serverless(material.address(record), **material.broken(record)),
        lambda: PoolConfig(mongo_uri=material.address(record), password=secret, username="u", options=extra),
        lambda: PoolConfig(username="u", password=secret.encode(), options=extra),  # type: ignore[arg-type]
        lambda: PoolConfig(mongo_uri=material.address(record).encode()),  # type: ignore[arg-type]
        lambda: PoolConfig(mongo_uri="mongodb://h", options=material.options(record, objects=False)),
        lambda: PoolConfig.from_env(
            environ=environ | draw.choice(({}, {"MONGO_PORT": "x"}, {"MONGO_HOST": "h h"}))
        ),
        lambda: PoolConfig.from_env(environ={"MONGO_URI": material.address(record)}),
        lambda: PoolConfig.from_env("APP_", environ={"APP_URI": material.address(record), "APP_TLS": "x"}),
        lambda: PoolConfig.from_env(environ={"MONGO_HOST": material.address(record)}),
    ]
    return draw.choice(makers)()


def _pickled(record: Record, config: PoolConfig) -> None:
    try:
        pickled = pickle.dumps(config, protocol=record.draw.choice((2, 4, 5)))
    except Exception as error:  # listeners and callables of the user's
        record.error(error, Shown.ours)
        return
    record.text("pickle bytes", pickled.decode("latin-1"))
    loaded = pickle.loads(pickled)  # noqa: S301 (just written)
    environ = record.draw.choice(
        (
            {},
            {"MONGO_URI": material.address(record)},
            {"MONGODB_URI": material.address(record, valid=True)},
            {"MONGO_PASSWORD": record.secret()},
        )
    )
    try:
        show_settings(record, resolve(loaded, environ=environ))
    except PoolConfigurationError as error:
        record.error(error)


def errors(record: Record) -> None:
    """Errors of every class with secrets in them, scrubbed as for a pool whose secrets they are."""
    failure = material.error(record)
    settings = resolve("mongodb://u@h", {"password": record.secret()}, environ={})
    redactor = Redactor(each.text for each in record.secrets)
    known = dataclasses.replace(settings, redactor=redactor)
    record.error(redactor.scrub_exception(failure), outlet="scrubbed error")
    if isinstance(failure, Exception):
        told = explain_failure("Pool", failure, known, 0.1)
        record.error(told, outlet="explained failure")


def forms(record: Record) -> None:
    """A secret in every form, amid other text."""
    secret = record.secret()
    redactor = Redactor([secret, record.secret()])
    shapes = [encoded(secret, encoding, record.draw) for encoding in ENCODINGS]
    shapes += [repr(secret), ascii(secret), json.dumps(secret), repr(secret.encode()), repr(repr(secret))]
    record.text("scrubbed text", redactor.scrub(" ".join(record.draw.sample(shapes, k=len(shapes)))))
    nested: Any = {secret: [secret, {"a": (secret.encode(), secret)}, {secret}]}
    record.show("scrubbed values", redactor.scrub_value(nested), redactor)


def encryption(record: Record) -> None:
    """The keys of client-side encryption."""
    secret = record.secret()
    redactor = Redactor(secrets_in("auto_encryption_opts", material.FakeEncryption(secret)))
    record.text("scrubbed text", redactor.scrub(f"x {secret} {secret!r} {encoded(secret, 'quote', record.draw)}"))


KINDS: dict[str, tuple[Callable[[Record], None], int]] = {
    "connection strings": (connection_strings, 60),
    "options": (all_options, 40),
    "PoolConfig and its pickle": (pool_configs, 40),
    "errors, scrubbed": (errors, 12),
    "forms of a secret": (forms, 10),
    "encryption options": (encryption, 2),
    "the driver's client": (drivers_clients, 1),
}
"""Each kind and its share."""
