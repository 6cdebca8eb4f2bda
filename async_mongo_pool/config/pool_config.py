"""``PoolConfig``: the typed, frozen form of a configuration, with builders that quote credentials."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from async_mongo_pool.config import builders, withholding
from async_mongo_pool.config.guard import guarded
from async_mongo_pool.config.identity import freeze
from async_mongo_pool.config.masked import (
    MaskedOptions,
    wrapped_options,
    wrapped_password,
    wrapped_unknown_options,
)
from async_mongo_pool.config.options import key_of, masked_value
from async_mongo_pool.config.redaction import Secret
from async_mongo_pool.config.uri import mask_uri
from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from async_mongo_pool.config.settings import OptionInForce

__all__ = ["PoolConfig"]

_NOT_OPTIONS = frozenset({"mongo_uri", "database_name", "preset", "options", "environment_prefix", "withheld"})
# The class method ``replica_set`` has the short name.
_OPTION_NAMES = {"replica_set_name": "replicaSet"}


@dataclass(frozen=True, repr=False)
class PoolConfig:
    """A configuration as one value: typed, frozen, comparable, safe to show and to pickle.

    Every field is None unless given; what is given counts as an argument, above the connection string. Values are
    validated when they are used (``resolve``, ``initialize``, ``explain``). Secrets are wrapped: ``repr``,
    ``vars`` and ``dataclasses.asdict`` show ``***``. A pickle leaves them out; after unpickling they are taken
    from the environment (see ``withheld``).

    Attributes:
        mongo_uri: The connection string; None means the variable ``MONGODB_URI``.
        database_name: The default database, if not the connection string's.
        max_pool_size: Most connections per server; 0 is no limit. Default 100.
        min_pool_size: Connections kept open per server. Default 10.
        max_idle_time_ms: Close connections idle for so long, in milliseconds. Default 30000.
        max_connecting: Connections being opened at a time per server. The driver's default is 2.
        wait_queue_timeout_ms: Longest wait for a connection, in milliseconds. Default 5000.
        server_selection_timeout_ms: Longest search for a server, in milliseconds. Default 5000.
        connect_timeout_ms: Longest opening of a connection, in milliseconds. Default 10000.
        socket_timeout_ms: Longest wait for an answer, in milliseconds; 0 is no limit. Default 30000.
        timeout_ms: Limit for a whole operation, in milliseconds; replaces the socket and wait-queue defaults.
        heartbeat_frequency_ms: Time between checks of a server, in milliseconds. The driver's default is 10000.
        retry_writes: Retry a write once after a network error. Default True.
        retry_reads: Retry a read once after a network error. Default True.
        app_name: The name that the server logs, at most 128 bytes.
        w: The write concern: a number of members, ``"majority"`` or a tag.
        journal: Whether a write waits for the journal.
        read_preference: A mode (``"secondaryPreferred"``) or a read preference object.
        compressors: ``"snappy"``, ``"zlib"``, ``"zstd"``, or several in a list.
        tls: Whether to use TLS.
        replica_set_name: The name of the replica set.
        auth_source: The database that keeps the user.
        auth_mechanism: ``"SCRAM-SHA-256"``, ``"MONGODB-X509"`` and so on.
        username: Overrides the connection string's.
        password: Overrides the connection string's.
        preset: ``development``, ``production``, ``high_concurrency``, ``serverless`` or ``fast_failover``.
        max_threads: The most worker threads of a Motor pool. Default 512.
        max_waiting: The most operations that may wait for a worker of a Motor pool. Default: no limit.
        slow_checkout_ms: Log and count connections held for longer, in milliseconds. Default: never look.
        slow_checkout_stack: Show in that log where the connection was checked out. Default False.
        command_stats: Count and time each command. Default False.
        slow_command_ms: Log commands that took longer, in milliseconds. Default: log none.
        heartbeat_stats: Time heartbeats. Default False.
        retire_after: How long a replaced client lives at least, in seconds. Default 30.
        retire_limit: How long a replaced client lives at most, in seconds. Default 300.
        on_replace: Called with the old and the new client after a replacement.
        options: Any other option of the driver, in any spelling.
        environment_prefix: The prefix that ``from_env`` used; its variables give secrets back after unpickling.
        withheld: The secrets that a pickle left out.
    """

    mongo_uri: str | Secret[str] | None = None
    database_name: str | None = None
    max_pool_size: int | None = None
    min_pool_size: int | None = None
    max_idle_time_ms: float | None = None
    max_connecting: int | None = None
    wait_queue_timeout_ms: float | None = None
    server_selection_timeout_ms: float | None = None
    connect_timeout_ms: float | None = None
    socket_timeout_ms: float | None = None
    timeout_ms: float | None = None
    heartbeat_frequency_ms: float | None = None
    retry_writes: bool | None = None
    retry_reads: bool | None = None
    app_name: str | None = None
    w: int | str | None = None
    journal: bool | None = None
    read_preference: Any = None
    compressors: str | list[str] | tuple[str, ...] | None = None
    tls: bool | None = None
    replica_set_name: str | None = None
    auth_source: str | None = None
    auth_mechanism: str | None = None
    username: str | None = None
    password: str | Secret[str] | None = None
    preset: str | None = None
    max_threads: int | None = None
    max_waiting: int | None = None
    slow_checkout_ms: float | None = None
    slow_checkout_stack: bool | None = None
    command_stats: bool | None = None
    slow_command_ms: float | None = None
    heartbeat_stats: bool | None = None
    retire_after: float | None = None
    retire_limit: float | None = None
    on_replace: Callable[[Any, Any], Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    environment_prefix: str | None = None
    withheld: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        for name in ("mongo_uri", "password"):
            # Whatever it is: bytes are a mistake, and just as secret.
            set_field(self, name, wrapped_password(getattr(self, name)))
        if isinstance(self.options, Mapping):
            set_field(self, "options", wrapped_unknown_options(self.options))
        if isinstance(self.compressors, list):
            set_field(self, "compressors", tuple(self.compressors))

    @classmethod
    def local(
        cls,
        host: str = "localhost",
        port: int | str = 27017,
        *,
        database: str | None = None,
        username: str | None = None,
        password: str | Secret[str] | None = None,
        **options: Any,
    ) -> PoolConfig:
        """Describe one server.

        Args:
            host: A host name, an IP address, or the path of a Unix socket ending in ``.sock``.
            port: From 1 to 65535.
            database: The default database.
            username: Quoted as needed.
            password: Quoted as needed.
            **options: Fields of this class or any option of the driver; ``authSource`` is ``admin`` by default.

        Raises:
            PoolConfigurationError: An argument cannot be part of an address.
        """
        held, given = wrapped_password(password), wrapped_options(options)
        # A person may take the host for the place of a whole connection string.
        address = Secret((host, port))
        host, port, password, options = "", "", None, {}
        return guarded(lambda: cls._built(builders.local(*address.reveal(), database, username, held), given))

    @classmethod
    def replica_set(
        cls,
        hosts: str | list[str] | tuple[str, ...] | None = None,
        name: str | None = None,
        *,
        database: str | None = None,
        username: str | None = None,
        password: str | Secret[str] | None = None,
        **options: Any,
    ) -> PoolConfig:
        """Describe a replica set.

        Args:
            hosts: Some of its members, ``host`` or ``host:port``, as a list or separated by commas. Required.
            name: The name of the set. Required.
            database: The default database.
            username: Quoted as needed.
            password: Quoted as needed.
            **options: As for ``local``.

        Raises:
            PoolConfigurationError: An argument is missing or cannot be part of an address.
        """
        held, given = wrapped_password(password), wrapped_options(options)
        address = Secret(hosts)
        hosts, password, options = None, None, {}
        return guarded(
            lambda: cls._built(builders.replica_set(address.reveal(), name, database, username, held), given)
        )

    @classmethod
    def atlas(
        cls,
        *,
        username: str | None = None,
        password: str | Secret[str] | None = None,
        cluster: str | None = None,
        database: str | None = None,
        **options: Any,
    ) -> PoolConfig:
        """Describe an Atlas cluster: ``mongodb+srv``, TLS, ``retryWrites`` and ``w="majority"``.

        Args:
            username: Of a database user, quoted as needed. Required.
            password: Quoted as needed. Required.
            cluster: The host name, such as ``cluster0.abcde.mongodb.net``. Required.
            database: The default database.
            **options: As for ``local``.

        Raises:
            PoolConfigurationError: An argument is missing or cannot be part of an address.
        """
        held, given = wrapped_password(password), wrapped_options(options)
        address = Secret(cluster)
        cluster, password, options = None, None, {}
        return guarded(lambda: cls._built(builders.atlas(username, held, address.reveal(), database), given))

    @classmethod
    def from_env(cls, prefix: str = "MONGO_", environ: Mapping[str, str] | None = None) -> PoolConfig:
        """Read an address, credentials and options from variables.

        ``{prefix}URI``, else ``MONGODB_URI``, is a whole connection string and wins over the parts: ``HOST``
        (default ``localhost``; several separated by commas), ``PORT``, ``USERNAME``, ``PASSWORD``, ``AUTH_SOURCE``
        (default ``admin``), ``AUTH_MECHANISM``, ``REPLICA_SET``, ``TLS``. ``DATABASE`` counts if the connection
        string names none. ``APP_NAME``, sizes and time limits (``MAX_POOL_SIZE`` and so on) count as arguments.
        Empty variables count as not set.

        Args:
            prefix: What the names of the variables begin with.
            environ: Read instead of ``os.environ``.

        Raises:
            PoolConfigurationError: A value cannot be used; it names the variable.
        """
        held = Secret(os.environ if environ is None else environ)
        environ = None
        return guarded(lambda: cls._built(builders.from_environment(prefix, held), MaskedOptions({})))

    @classmethod
    def development(cls, uri: str | Secret[str] | None = None, **options: Any) -> PoolConfig:
        """Use the preset ``development``: ``maxPoolSize`` 10, ``minPoolSize`` 1."""
        return cls._with_preset("development", uri, options)

    @classmethod
    def production(cls, uri: str | Secret[str] | None = None, **options: Any) -> PoolConfig:
        """Use the preset ``production``: 500 and 50, idle for 60 s, majority writes with journal."""
        return cls._with_preset("production", uri, options)

    @classmethod
    def high_concurrency(cls, uri: str | Secret[str] | None = None, **options: Any) -> PoolConfig:
        """Use the preset ``high_concurrency``: 1000 and 100, waits of 10 s."""
        return cls._with_preset("high_concurrency", uri, options)

    @classmethod
    def serverless(cls, uri: str | Secret[str] | None = None, **options: Any) -> PoolConfig:
        """Use the preset ``serverless``: ``maxPoolSize`` 10, ``minPoolSize`` 0."""
        return cls._with_preset("serverless", uri, options)

    @classmethod
    def fast_failover(cls, uri: str | Secret[str] | None = None, **options: Any) -> PoolConfig:
        """Use the preset ``fast_failover``: a silent primary is noticed within 3 s."""
        return cls._with_preset("fast_failover", uri, options)

    @classmethod
    def _with_preset(cls, preset: str, uri: str | Secret[str] | None, options: dict[str, Any]) -> PoolConfig:
        held = Secret(uri) if isinstance(uri, str) else uri
        return cls._built({"mongo_uri": held, "preset": preset}, wrapped_options(options))

    @classmethod
    def _built(cls, part: Mapping[str, Any], options: Mapping[str, Any]) -> PoolConfig:
        """Sort what a builder was given into fields and other options; the caller's win over the builder's."""
        names = {each.name for each in dataclasses.fields(cls)} - {"options"}
        given = {**part.get("options", {}), **options.get("options", {}), **options}
        given.pop("options", None)
        fields = {name: value for name, value in {**part, **given}.items() if name in names}
        return cls(**fields, options={name: value for name, value in given.items() if name not in names})

    def replace(self, **changes: Any) -> PoolConfig:
        """Return a copy with other values of some fields.

        Raises:
            PoolConfigurationError: There is no such field.
        """
        held = Secret(changes)
        changes = {}
        return guarded(lambda: self._replaced(wrapped_options(held.reveal())))

    def _replaced(self, held: MaskedOptions) -> PoolConfig:
        unknown = sorted(set(held) - {each.name for each in dataclasses.fields(self)})
        if unknown:
            raise PoolConfigurationError(
                f"PoolConfig has no field {unknown[0]}; other options go into options={{...}}."
            )
        return dataclasses.replace(self, **{"withheld": withholding.still_withheld(self.withheld, held), **held})

    def explain(self, environ: Mapping[str, str] | None = None) -> tuple[OptionInForce, ...]:
        """Return each option in force, its value (masked if secret) and where it came from.

        Args:
            environ: Read instead of ``os.environ``.

        Raises:
            PoolConfigurationError: The configuration cannot be used.
        """
        # Here, because resolve needs this class.
        from async_mongo_pool.config.resolution import resolve

        held = Secret(environ)
        environ = None
        return resolve(self, environ=held).explain()

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by the name they were given under; secrets are wrapped."""
        names = (each.name for each in dataclasses.fields(self) if each.name not in _NOT_OPTIONS)
        fields = {_OPTION_NAMES.get(name, name): getattr(self, name) for name in names}
        return {name: value for name, value in fields.items() if value is not None}

    def __hash__(self) -> int:
        return hash(freeze([getattr(self, each.name) for each in dataclasses.fields(self)]))

    def __repr__(self) -> str:
        values = ((each.name, getattr(self, each.name)) for each in dataclasses.fields(self))
        shown = [f"{name}={self._shown(name, value)}" for name, value in values if value not in (None, {}, ())]
        return f"PoolConfig({', '.join(shown)})"

    def _shown(self, name: str, value: Any) -> str:
        if name == "mongo_uri":
            return repr(mask_uri(value.reveal() if isinstance(value, Secret) else value))
        return repr(masked_value(key_of(name), value) if name == "on_replace" else value)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return _restored, (type(self), withholding.without_secrets(state))


def _restored(kind: type[PoolConfig], state: dict[str, Any]) -> PoolConfig:
    return kind(**state)
