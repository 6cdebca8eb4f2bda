"""Connection strings, options and errors with secrets in them, drawn at random."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pymongo.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    EncryptionError,
    InvalidURI,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteError,
)
from pymongo.monitoring import ServerListener

from .sentinel import ENCODINGS, encoded

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from .record import Record

__all__ = ["Credentials", "FakeEncryption", "address", "broken", "error", "options", "written"]

_HOSTS = ("h", "H:27018", "a,b:1", "[::1]:27018", "1.2.3.4", "%2Ftmp%2Fmongodb-27017.sock")
_BAD_HOSTS = ("h:", "h:x", "h:70000", "", "a,,b", "[::1", "::1", "h%41", "/run/m.sock", "h h")
_CLUSTERS = ("cluster0.abc.mongodb.net", "c.example.com")
_PATHS = ("", "/", "/db", "/db.c")
_BAD_PATHS = ("/a b", "/a%2Fb", "/$x", "/.", "/@")
_PLAIN_PAIRS = (
    "maxPoolSize=7",
    "w=majority",
    "retryWrites=false",
    "appName=x",
    "readPreference=nearest",
    "tls=true",
)
_BAD_PAIRS = ("maxPoolSize=many", "maxPolSize=3", "w=-1", "x", "=", "a=b=c", "journal=maybe", "authSource=")


class Credentials:
    """A callable of a user's whose own ``repr`` shows what it holds, as a dataclass's does."""

    def __init__(self, secret: str, answer: Callable[[], Any]) -> None:
        self.secret = secret
        self.answer = answer

    def __call__(self) -> Any:
        return self.answer()

    def __repr__(self) -> str:
        return f"Credentials(secret={self.secret!r})"


class _Callback(OIDCCallback):
    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return f"Callback({self.token})"

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        return OIDCCallbackResult(access_token=self.token)


class FakeEncryption:
    """Stands for AutoEncryptionOpts, whose constructor asks for pymongocrypt."""

    _mongocryptd_uri: ClassVar[str | None] = None

    def __init__(self, secret: str) -> None:
        self._kms_providers = {"aws": {"accessKeyId": "public", "secretAccessKey": secret}}
        self._kms_tls_options = {"kmip": {"tlsCertificateKeyFilePassword": secret}}

    def __repr__(self) -> str:
        return f"AutoEncryptionOpts({self._kms_providers})"


def written(record: Record) -> str:
    """A new secret as it could stand in a connection string."""
    return encoded(record.secret(), record.draw.choice(ENCODINGS), record.draw)


def address(record: Record, *, valid: bool | None = None) -> str:
    """A connection string with a password, and perhaps with more secrets in its options.

    Args:
        record: Whose secrets they are.
        valid: Only what can be used; None draws that too.
    """
    draw = record.draw
    good = draw.random() < 0.5 if valid is None else valid
    password = encoded(record.secret(), draw.choice(ENCODINGS[:5] if good else ENCODINGS), draw)
    user = draw.choice(("u", "us%40er", "%C3%BC") if good else ("u", "", "u:", "us/er", password))
    srv = draw.random() < 0.2
    scheme = "mongodb+srv://" if srv else "mongodb://"
    host = draw.choice(_CLUSTERS if srv else _HOSTS)
    path = draw.choice(_PATHS)
    if not good:
        scheme = draw.choice((scheme, scheme, scheme, "MongoDB://", "http://", "", "mongodb:/"))
        host = draw.choice((host, *_BAD_HOSTS))
        path = draw.choice((path, *_BAD_PATHS))
    return f"{scheme}{user}:{password}@{host}{path}{_query(record, good=good, slash=bool(path))}"


def _query(record: Record, *, good: bool, slash: bool) -> str:
    draw = record.draw
    pairs = draw.sample(_PLAIN_PAIRS, k=draw.randrange(3))
    if draw.random() < 0.4:
        pairs.append(_secret_pair(record, good=good))
    if not good:
        pairs += draw.sample(_BAD_PAIRS, k=draw.randrange(2))
    if not pairs:
        return ""
    return ("?" if slash or not good else "/?") + draw.choice("&;" if good else ("&", ";", "&&", "?")).join(pairs)


def _secret_pair(record: Record, *, good: bool) -> str:
    draw = record.draw
    value = encoded(record.secret(), draw.choice(ENCODINGS[:4] if good else ENCODINGS), draw)
    names = ["tlsCertificateKeyFilePassword", "TLSCERTIFICATEKEYFILEPASSWORD"]
    forms = [f"{draw.choice(names)}={value}", f"authMechanismProperties=AWS_SESSION_TOKEN:{value}"]
    if not good:
        forms += [f"password={value}", f"proxyPassword={value}", f"proxyHost=p&proxyPassword={value}"]
        forms += [f"tlsCertificateKeyFilePassword=a&{value}=1", f"authMechanismProperties={value}"]
        forms += [f"authMechanismProperties=SERVICE_NAME:x,{value}", f"ssl_password={value}"]
    return draw.choice(forms)


def options(record: Record, *, objects: bool = True) -> dict[str, Any]:
    """Options with a secret in one of them.

    Args:
        record: Whose secret it is.
        objects: Also callables and listeners of the user's that know it, and show it when they are asked.
    """
    draw, secret = record.draw, record.secret()
    if objects and draw.random() < 0.15:
        return _objects(draw, secret)
    chosen: dict[str, Any] = draw.choice(
        (
            {"username": "u", "password": secret},
            {"USERNAME": "u", "pass_word": secret},
            {"password": secret.encode()},
            {"tlsCertificateKeyFilePassword": secret, "tls": True},
            {"tls_certificate_key_file_password": secret},
            {"tlsCertificateKeyFilePassword": secret.encode()},
            {"tlsCertificateKeyFilePassword": [secret]},
            {"authMechanism": "MONGODB-AWS", "authMechanismProperties": {"AWS_SESSION_TOKEN": secret}},
            {"authMechanism": "MONGODB-AWS", "authMechanismProperties": f"AWS_SESSION_TOKEN:{secret}"},
            {"authMechanismProperties": f"SERVICE_NAME:x,{secret}"},
            {"authMechanismProperties": {"AWS_SESSION_TOKEN": [secret]}},
            {"authMechanismProperties": secret},
            {"authMechanismProperties": {"OTHER": secret}},
            {"auto_encryption_opts": FakeEncryption(secret)},
            {"autoEncryptionOpts": {"kms_providers": {"local": {"key": secret.encode()}}}},
            {"proxyHost": "p", "proxyUsername": "u", "proxyPassword": secret},
            {"proxy_password": secret},
            {"sslPassword": secret, "ssl": True},
            {"pasword": secret, "username": "u"},
        )
    )
    return chosen | draw.choice(_HARMLESS)


def _objects(draw: random.Random, secret: str) -> dict[str, Any]:
    chosen: dict[str, Any] = draw.choice(
        (
            {"event_listeners": [_Listener(secret)]},
            {"on_replace": Credentials(secret, dict)},
            {"on_replace": partial(print, secret)},
            {"server_selector": Credentials(secret, dict)},
            {"authMechanism": "MONGODB-OIDC", "authMechanismProperties": {"OIDC_CALLBACK": _Callback(secret)}},
        )
    )
    known = {} if "authMechanism" in chosen else {"password": secret, "username": "u"}
    return chosen | known


class _Listener(ServerListener):
    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __repr__(self) -> str:
        return f"Listener({self.secret})"


_HARMLESS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"maxPoolSize": 20},
    {"min_pool_size": 0},
    {"command_stats": True},
)


def broken(record: Record) -> dict[str, Any]:
    """An option that cannot be used."""
    mixed: dict[str, Any] = record.draw.choice(
        (
            {"maxPoolSize": "x"},
            {"maxPolSize": 5},
            {"journal": True, "w": 0},
            {"minPoolSize": 9, "maxPoolSize": 5},
            {"writeConcern": {"w": 1}},
            {"ssl_context": object()},
            {"tlsInsecure": True, "tlsAllowInvalidHostnames": True},
            {"loadBalanced": True, "directConnection": True},
            {"authMechanism": "SCRAM-SHA-512"},
            {"authMechanism": "MONGODB-X509", "username": "u", "password": record.secret()},
            {"compressors": "lz4"},
            {"retire_after": -1},
            {"readPreference": "fastest"},
            {"document_class": 5},
            {"server_api": "1"},
            {"replicaSet": ""},
        )
    )
    return mixed


def error(record: Record, depth: int = 2) -> BaseException:
    """An error with a secret in its text, its attributes, its causes or its notes."""
    draw = record.draw
    secret = written(record) if draw.random() < 0.5 else record.secret()
    made = _one_error(record, secret, depth)
    if draw.random() < 0.2:
        made.add_note(f"note {secret}")
    if depth and draw.random() < 0.4:
        made.__cause__ = error(record, depth - 1)
    if depth and draw.random() < 0.3:
        made.__context__ = error(record, depth - 1)
    return made


def _one_error(record: Record, secret: str, depth: int) -> BaseException:
    draw = record.draw
    quoted = draw.choice((secret, repr(secret), f"mongodb://u:{secret}@h/", f"b'{secret}'", ascii(secret)))
    makers: list[Callable[[], BaseException]] = [
        lambda: ValueError(f"bad {quoted}", 3),
        lambda: KeyError(secret),
        lambda: TypeError(f"not {secret.encode()!r}"),
        lambda: OSError(2, f"no {quoted}", f"/run/{secret}"),
        lambda: ssl.SSLError(1, f"no {quoted}"),
        lambda: UnicodeDecodeError("utf-8", b"\xff" + secret.encode(), 0, 1, "bad"),
        lambda: ImportError(f"no {quoted}", name="x", path=secret),
        lambda: InvalidURI(f'Bad database name "{quoted}"'),
        lambda: ConfigurationError(f"Invalid URI: {quoted}"),
        lambda: OperationFailure(f"no {quoted}", 18, {"errmsg": secret, "list": [{"deep": (secret,)}]}, 9),
        lambda: WriteError(f"no {quoted}", 1, {"errmsg": quoted}),
        lambda: DuplicateKeyError("dup", 11000, {"keyValue": {secret: 1}}),
        lambda: BulkWriteError({"writeErrors": [{"errmsg": quoted}]}),
        lambda: AutoReconnect(quoted, {"errors": [OperationFailure(secret)]}),
        lambda: NetworkTimeout(f"h:27017: {quoted}"),
        lambda: ServerSelectionTimeoutError(f"h:27017: {quoted}", [secret]),
        lambda: EncryptionError(ValueError(secret)),
        lambda: RuntimeError(Credentials(secret, dict)),
    ]
    if depth:
        makers.append(lambda: ExceptionGroup(f"group {quoted}", [ValueError(secret), OSError(secret)]))
    return draw.choice(makers)()
