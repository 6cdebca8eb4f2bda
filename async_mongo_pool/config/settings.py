"""The result: one configuration, checked, comparable, and safe to show."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import pymongo

from async_mongo_pool.config.masked import MaskedOptions
from async_mongo_pool.config.options import is_secret, key_of, masked_value, spelling
from async_mongo_pool.config.redaction import MASK, HiddenText, Redactor, Secret
from async_mongo_pool.config.vocabulary import HOLDS_SECRETS, POOL_OPTIONS, SAFE_MECHANISM_PROPERTIES

if TYPE_CHECKING:
    from pymongo.driver_info import DriverInfo

    from async_mongo_pool.config.pool_options import PoolOptions
    from async_mongo_pool.config.sources import Setting

__all__ = ["ClientSettings", "OptionInForce", "driver_options"]

_CREDENTIALS = ("username", "password")


@dataclass(frozen=True, slots=True)
class OptionInForce:
    """One row of ``explain()``.

    Attributes:
        name: In the driver's spelling.
        value: In the driver's units (timeouts in milliseconds); ``***`` for a secret.
        source: ``default``, ``preset NAME``, ``environment VARIABLE``, ``URI`` or ``argument``.
    """

    name: str
    value: Any
    source: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ClientSettings:
    """What ``resolve`` returns: everything a client needs, and how to talk about it.

    Two are equal if they mean the same: the order of options and hosts, case, ``"100"`` and ``100`` make no
    difference. It cannot be pickled, as it holds the credentials; a ``PoolConfig`` can.

    Attributes:
        client_options: Keyword arguments for ``MongoClient``, ``AsyncMongoClient`` and ``AsyncIOMotorClient``, in
            the driver's units. Without ``event_listeners``, ``driver`` and ``connect``.
        event_listeners: The user's own.
        driver: The user's ``DriverInfo``, or None.
        pool_options: The options that are ours.
        key: Equal for configurations of equal meaning; holds no secret.
        database: The default database, or None.
        masked_uri: The address as it may be logged.
        redactor: Takes this configuration's secrets out of text and exceptions.
        warnings: Sentences about what a person should look at (TLS verification off ...).
    """

    client_options: Mapping[str, Any]
    event_listeners: tuple[Any, ...]
    driver: DriverInfo | None
    pool_options: PoolOptions
    key: Hashable
    database: str | None
    masked_uri: str
    redactor: Redactor
    warnings: tuple[str, ...]
    _uri: Secret[str]
    _settings: Mapping[str, Setting]
    _meaning: Mapping[str, Hashable]

    @property
    def uri(self) -> str:
        """The address for the driver, with the credentials and without options. Never log it."""
        return self._uri.reveal()

    @property
    def pool_config(self) -> dict[str, Any]:
        """The options in force as plain data for statistics, masked, without the credentials."""
        shown = (each for each in self._settings.values() if each.key not in _CREDENTIALS)
        return {spelling(each.key): _plain(masked_value(each.key, each.value)) for each in shown}

    def explain(self) -> tuple[OptionInForce, ...]:
        """Return each option in force with its value (masked if secret) and its source, sorted by name."""
        rows = (OptionInForce(_name(each), self._shown(each), each.source) for each in self._settings.values())
        return tuple(sorted(rows, key=lambda row: row.name))

    def value(self, name: str) -> Any:
        """Return the effective value of an option in the driver's units.

        Args:
            name: In any spelling (``maxPoolSize``, ``max_pool_size``); also the pool's own options.

        Returns:
            The value; None if the option is not set; a masked ``Secret`` for a password and for what holds one
            (``authMechanismProperties``, ``auto_encryption_opts``).
        """
        found = self._settings.get(key_of(name))
        if found is None:
            return None
        hidden = (is_secret(found.key) or found.key in HOLDS_SECRETS) and not isinstance(found.value, Secret)
        return Secret(found.value) if hidden else found.value

    def differing(self, other: ClientSettings) -> tuple[str, ...]:
        """Return the names (never the values) in which the two differ, sorted.

        Besides options these are ``address``, ``credentials`` and ``database``.
        """
        mine, others = self._meaning, other._meaning
        return tuple(sorted(name for name in {*mine, *others} if _differ(name, mine, others)))

    def _shown(self, setting: Setting) -> Any:
        if setting.key == "username":
            return MASK if self.redactor.scrub(setting.value) != setting.value else setting.value
        value = masked_value(setting.key, setting.value)
        return list(value) if isinstance(value, list) else value

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, ClientSettings) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        sizes = f"maxPoolSize={self.value('maxPoolSize')}, minPoolSize={self.value('minPoolSize')}"
        return f"<ClientSettings {self.masked_uri} {sizes}>"

    def __copy__(self) -> ClientSettings:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ClientSettings:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "ClientSettings hold the credentials and cannot be pickled; pickle the PoolConfig instead."
        )

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            "ClientSettings hold the credentials and cannot be pickled; pickle the PoolConfig instead."
        )


def _differ(name: str, mine: Mapping[str, Hashable], others: Mapping[str, Hashable]) -> bool:
    return name not in mine or name not in others or mine[name] != others[name]


def _name(setting: Setting) -> str:
    return "read_preference" if is_preference_object(setting) else spelling(setting.key)


def is_preference_object(setting: Setting) -> bool:
    """Tell whether this is a read preference object: the driver has another name for it than for a mode."""
    return setting.key == "readpreference" and not isinstance(setting.value, str)


def driver_options(settings: Mapping[str, Setting]) -> MaskedOptions:
    """Return the keyword arguments for the driver's client."""
    ours = {*POOL_OPTIONS, *_CREDENTIALS, "eventlisteners", "driver"}
    return MaskedOptions({_name(each): _for_driver(each) for each in settings.values() if each.key not in ours})


def _for_driver(setting: Setting) -> Any:
    if setting.key == "maxpoolsize" and setting.value == 0 and pymongo.version_tuple < (4, 20):
        # "No limit" for every driver, but PyMongo 4.14 finds minPoolSize greater than 0 and refuses it.
        return None
    if is_secret(setting.key) and isinstance(setting.value, str):
        # The driver's repr of a client shows every option but the password.
        return HiddenText(setting.value)
    if setting.key == "authmechanismproperties":
        # PyMongo 4.14 shows these as well.
        return {name: _hidden_property(str(name), value) for name, value in setting.value.items()}
    return setting.value


def _hidden_property(name: str, value: Any) -> Any:
    hidden = isinstance(value, str) and name.upper() not in SAFE_MECHANISM_PROPERTIES
    return HiddenText(value) if hidden else value


def _plain(value: Any) -> Any:
    """Return data that every serializer takes; objects by the name of their class."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return getattr(value, "__qualname__", None) or type(value).__qualname__
