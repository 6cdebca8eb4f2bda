"""``resolve``: five sources become one configuration."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from async_mongo_pool.config import withholding
from async_mongo_pool.config.guard import guarded
from async_mongo_pool.config.options import is_known, key_of, missing_compressors, spelling, unknown
from async_mongo_pool.config.pool_config import PoolConfig
from async_mongo_pool.config.pool_options import PoolOptions
from async_mongo_pool.config.redaction import MASK, Redactor, Secret, digest
from async_mongo_pool.config.rules import bend, refuse_contradictions, warnings_for
from async_mongo_pool.config.secrets_in import secrets_in
from async_mongo_pool.config.settings import ClientSettings, driver_options
from async_mongo_pool.config.sources import Rank, Setting, from_defaults, from_environment, from_preset, setting
from async_mongo_pool.config.uri import ConnectionString, compose, split, validated_database
from async_mongo_pool.config.vocabulary import KEYWORD_ONLY, POOL_OPTIONS
from async_mongo_pool.errors import PoolConfigurationError

__all__ = ["resolve"]

_CREDENTIALS = ("username", "password")


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for, from the first line of ``resolve`` on without a bare secret."""

    connection: Secret[Any] | PoolConfig | None
    options: Secret[Any]
    preset: Any
    environ: Secret[Mapping[str, str]]


@dataclass(slots=True, repr=False)
class _Gathered:
    """The same, taken apart."""

    address: ConnectionString
    pairs: list[tuple[Any, Any]]
    arguments: list[tuple[Any, Any]] = field(default_factory=list)
    overriding: list[tuple[Any, Any]] = field(default_factory=list)
    database: str | None = None
    preset: Any = None

    def redactor(self) -> Redactor:
        given = (*self.pairs, *self.arguments, *self.overriding)
        found = [text for name, value in given if isinstance(name, str) for text in secrets_in(name, value)]
        if self.address.password:
            found.append(self.address.password.reveal())
        return Redactor(found)


def resolve(
    connection: str | PoolConfig | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
    environ: Mapping[str, str] | Secret[Mapping[str, str] | None] | None = None,
) -> ClientSettings:
    """Merge the library's defaults, a preset, the environment, the connection string and the arguments.

    A later source wins. What the library sets bends to what the user sets; ``None`` means "not given". Nothing is
    opened, looked up or changed.

    Args:
        connection: A connection string, a ``PoolConfig``, or None for the variable ``MONGODB_URI``.
        options: Driver options and the pool's own, in any spelling; they win over those of a ``PoolConfig``.
        preset: ``development``, ``production``, ``high_concurrency`` or ``serverless``.
        environ: Read instead of ``os.environ``.

    Returns:
        The configuration, validated.

    Raises:
        PoolConfigurationError: Something cannot be used. The error names the option and where it came from, and
            holds no secret.
    """
    held = connection if connection is None or isinstance(connection, PoolConfig) else Secret(connection)
    given = environ.reveal() if isinstance(environ, Secret) else environ
    request = _Request(held, Secret(options), preset, Secret(os.environ if given is None else given))
    # A traceback may be rendered with local variables.
    connection = options = environ = given = None
    return guarded(lambda: _resolve(request))


def _resolve(request: _Request) -> ClientSettings:
    gathered = _gather(request)
    redactor = gathered.redactor()
    try:
        return _settle(gathered, request.environ.reveal(), redactor)
    except PoolConfigurationError as error:
        # A secret may also have been given where none belongs.
        raise type(error)(redactor.scrub(str(error))) from None


def _gather(request: _Request) -> _Gathered:
    environ = request.environ.reveal()
    overriding = _mapping(request.options.reveal(), "options")
    if isinstance(request.connection, PoolConfig):
        return _gather_config(request.connection, overriding, request.preset, environ)
    text = _connection_string(request.connection, environ)
    address = split(text)
    return _Gathered(address, list(address.options.reveal()), overriding=overriding, preset=request.preset)


def _gather_config(
    config: PoolConfig, overriding: list[tuple[Any, Any]], preset: Any, environ: Mapping[str, str]
) -> _Gathered:
    given = [*config.given().items(), *_mapping(config.options, "PoolConfig.options")]
    missing = withholding.still_withheld(config.withheld, dict((*given, *overriding)))
    if "mongo_uri" in missing:
        held: Any = None
        missing = ()
    else:
        held = config.mongo_uri
    address = split(_connection_string(held, environ))
    if missing:
        found = withholding.found_again(missing, address, config.environment_prefix, environ)
        given.extend((spelling(key), value) for key, value in found.items())
    database: Any = config.database_name
    if database is not None and (not isinstance(database, str) or "." in database):
        raise PoolConfigurationError("database_name must be a string without a dot.")
    return _Gathered(
        address,
        list(address.options.reveal()),
        given,
        overriding,
        None if database is None else validated_database(database, "in database_name"),
        config.preset if preset is None else preset,
    )


def _mapping(options: Any, what: str) -> list[tuple[Any, Any]]:
    if options is None:
        return []
    if not isinstance(options, Mapping):
        raise PoolConfigurationError(f"{what} must be a mapping of names to values, not {type(options).__name__}.")
    return list(options.items())


def _connection_string(held: Any, environ: Mapping[str, str]) -> str:
    value = held.reveal() if isinstance(held, Secret) else held
    if isinstance(value, Secret):
        value = value.reveal()
    if value is None:
        value = environ.get("MONGODB_URI", "").strip() or None
    if value is None:
        raise PoolConfigurationError(
            "No connection string: pass one (mongodb://host:27017/), pass a PoolConfig, or set the environment "
            "variable MONGODB_URI."
        )
    if not isinstance(value, str):
        kind = type(value).__name__
        raise PoolConfigurationError(f"The connection must be a connection string or a PoolConfig, not {kind}.")
    return value


def _settle(gathered: _Gathered, environ: Mapping[str, str], redactor: Redactor) -> ClientSettings:
    address = gathered.address
    given = bend(
        {
            **from_defaults(),
            **from_preset(gathered.preset),
            **from_environment(environ),
            **_from_uri(address, gathered.pairs),
            **_from_arguments(gathered.arguments),
            **_from_arguments(gathered.overriding),
        }
    )
    username = given["username"].value if "username" in given else None
    password = Secret(given["password"].value) if "password" in given else None
    refuse_contradictions(given, address, username, password)
    _require_dnspython(address)
    return _result(gathered, given, username, password, redactor)


def _from_uri(address: ConnectionString, pairs: Iterable[tuple[str, str]]) -> dict[str, Setting]:
    joined: list[tuple[str, Any]] = []
    tags = [value for name, value in pairs if key_of(name) == "readpreferencetags"]
    for name, value in pairs:
        if key_of(name) in KEYWORD_ONLY | POOL_OPTIONS.keys():
            raise PoolConfigurationError.answered(name, "URI", "pass it as an argument")
        if key_of(name) != "readpreferencetags":
            joined.append((name, value))
    if tags:
        joined.append(("readPreferenceTags", tags))
    if address.username is not None:
        joined.append(("username", address.username))
    if address.password is not None:
        joined.append(("password", address.password))
    return _collect(joined, Rank.URI, "URI", quotable=address.quotable)


def _from_arguments(given: Iterable[tuple[str, Any]]) -> dict[str, Setting]:
    # None is "not given"; an empty password is what the driver makes of "user:@host".
    kept = ((name, value) for name, value in given if value is not None and not _is_empty_password(name, value))
    return _collect(kept, Rank.ARGUMENT, "argument")


def _collect(
    given: Iterable[tuple[Any, Any]], rank: Rank, source: str, *, quotable: bool = True
) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    names: dict[str, str] = {}
    for name, value in given:
        key = key_of(name) if isinstance(name, str) else ""
        if key == "connect" and value in (True, "true"):
            continue
        if key not in POOL_OPTIONS and (not is_known(key) or _is_answered(key)):
            raise unknown(name, source, quotable=quotable)
        each = setting(key, value, rank, source, quotable=quotable)
        if key in found and found[key].normal != each.normal:
            raise PoolConfigurationError.contradiction(
                f"{spelling(key)} is given twice with different values ({source}: {names[key]} and {name})"
            )
        found[key], names[key] = each, name
    return found


def _is_empty_password(name: Any, value: Any) -> bool:
    plain = value.reveal() if isinstance(value, Secret) else value
    return name == "password" and isinstance(plain, str) and plain == ""


def _is_answered(key: str) -> bool:
    return key in {"connect", "waitqueuemultiple"}


def _require_dnspython(address: ConnectionString) -> None:
    if address.scheme == "mongodb+srv" and importlib.util.find_spec("dns") is None:
        raise PoolConfigurationError("mongodb+srv:// needs the package dnspython: pip install dnspython.")


def _result(
    gathered: _Gathered,
    given: dict[str, Setting],
    username: str | None,
    password: Secret[str] | None,
    redactor: Redactor,
) -> ClientSettings:
    address = gathered.address
    database = gathered.database or address.database
    # Without authSource the driver looks for the user in the address's database: another one must not go there.
    own = database if username is None or "authsource" in given else address.database
    uri = compose(address.scheme, username, password.reveal() if password else None, address.hosts, own)
    shown_name = MASK if username is not None and redactor.scrub(username) != username else username
    meaning = _meaning(given, address, username, password, database)
    in_force = _with_available_compressors(given)
    return ClientSettings(
        client_options=driver_options(in_force),
        event_listeners=in_force["eventlisteners"].value if "eventlisteners" in in_force else (),
        driver=in_force["driver"].value if "driver" in in_force else None,
        pool_options=_pool_options(in_force),
        key=frozenset(meaning.items()),
        database=database,
        masked_uri=compose(address.scheme, shown_name, MASK if password else None, address.hosts, database),
        redactor=redactor,
        warnings=warnings_for(given, address),
        _uri=Secret(uri),
        _settings=in_force,
        _meaning=meaning,
    )


def _meaning(
    given: Mapping[str, Setting],
    address: ConnectionString,
    username: str | None,
    password: Secret[str] | None,
    database: str | None,
) -> dict[str, Hashable]:
    meaning: dict[str, Hashable] = {
        spelling(key): each.normal for key, each in given.items() if key not in _CREDENTIALS
    }
    meaning["address"] = (address.scheme, frozenset(address.hosts))
    meaning["credentials"] = digest(username, password.reveal() if password else None)
    meaning["database"] = database
    return meaning


def _with_available_compressors(given: dict[str, Setting]) -> dict[str, Setting]:
    """Leave out what the driver would drop with a Python warning for each client; ours is in ``warnings``."""
    if "compressors" not in given:
        return given
    chosen = given["compressors"]
    absent = missing_compressors(chosen.value)
    available = [name for name in chosen.value if name not in absent]
    rest = {key: each for key, each in given.items() if key != "compressors"}
    return {**rest, "compressors": dataclasses.replace(chosen, value=available)} if available else rest


def _pool_options(given: Mapping[str, Setting]) -> PoolOptions:
    return PoolOptions(**{name: given[key].value for key, name in POOL_OPTIONS.items() if key in given})
