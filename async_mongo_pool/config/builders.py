"""Connection strings out of parts (one server, a replica set, Atlas, variables), as fields of PoolConfig."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from async_mongo_pool.config.options import describe
from async_mongo_pool.config.redaction import Secret
from async_mongo_pool.config.sources import from_environment as options_from_environment
from async_mongo_pool.config.uri import Host, compose, parse_hosts, socket_at, split, validated_database
from async_mongo_pool.config.vocabulary import POOL_OPTIONS
from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["atlas", "from_environment", "local", "replica_set"]


def local(host: Any, port: Any, database: Any, username: Any, password: Secret[str] | None) -> dict[str, Any]:
    """Return the fields for one server."""
    _require("host", host)
    hosts = (_server(host, _port(port, "port")),)
    return _fields("mongodb", hosts, database, username, password)


def replica_set(
    hosts: Any, name: Any, database: Any, username: Any, password: Secret[str] | None
) -> dict[str, Any]:
    """Return the fields for a replica set."""
    _require("name", name)
    if not isinstance(hosts, (str, list, tuple)) or not hosts or not all(isinstance(host, str) for host in hosts):
        raise PoolConfigurationError("hosts is missing: give one or more of the replica set's members.")
    members = parse_hosts(hosts if isinstance(hosts, str) else ",".join(hosts))
    return {**_fields("mongodb", members, database, username, password), "replica_set_name": name}


def atlas(username: Any, password: Secret[str] | None, cluster: Any, database: Any) -> dict[str, Any]:
    """Return the fields for an Atlas cluster."""
    _require("username", username)
    _require("password", password.reveal() if isinstance(password, Secret) else password)
    _require("cluster", cluster)
    if "://" in cluster:
        raise PoolConfigurationError("cluster is the host name alone, without mongodb+srv://.")
    hosts = parse_hosts(cluster, "mongodb+srv")
    # No authSource: Atlas names it in the TXT record of the cluster.
    fields = _fields("mongodb+srv", hosts, database, username, password, admin=False)
    return {**fields, "retry_writes": True, "w": "majority"}


def _fields(
    scheme: str, hosts: Sequence[Host], database: Any, username: Any, password: Any, *, admin: bool = True
) -> dict[str, Any]:
    if database is not None:
        _require("database", database)
        validated_database(database, "given as database")
    if username is not None:
        _require("username", username)
    if password is not None and username is None:
        raise PoolConfigurationError("password is given, but username is missing.")
    try:
        uri = compose(scheme, username, password.reveal() if password else None, hosts, database)
    except UnicodeEncodeError:
        uri = None
    if uri is None:
        raise PoolConfigurationError("username and password must be text that UTF-8 can encode.")
    fields: dict[str, Any] = {"mongo_uri": Secret(uri)}
    if admin and username is not None and database is not None:
        # The driver would look for the user in the default database.
        fields["auth_source"] = "admin"
    return fields


def _require(name: str, value: Any) -> None:
    if value is None or value == "":
        raise PoolConfigurationError(f"{name} is missing.")
    if not isinstance(value, str):
        raise PoolConfigurationError(f"{name} must be a string, not {type(value).__name__}.")


def _port(value: Any, name: str) -> int:
    text = value if isinstance(value, str) else str(value) if type(value) is int else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535):
        raise PoolConfigurationError(f"{name} must be a number from 1 to 65535, not {describe(value)}.")
    return int(text)


def _server(host: str, port: int) -> Host:
    if host.endswith(".sock"):
        return socket_at(host)
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    found = parse_hosts(host)
    if len(found) != 1 or (":" in host and not host.endswith("]")):
        raise PoolConfigurationError("host must be one host name, without a port.")
    return Host(found[0].name, port)


def from_environment(prefix: str, environ: Secret[Mapping[str, str]]) -> dict[str, Any]:
    """Return the fields that variables give; see ``PoolConfig.from_env``."""
    variables = environ.reveal()

    def read(name: str) -> str | None:
        return variables.get(prefix + name, "").strip() or None

    uri = read("URI") or variables.get("MONGODB_URI", "").strip()
    fields = _from_uri(uri, read("DATABASE")) if uri else _from_parts(prefix, read)
    if mechanism := read("AUTH_MECHANISM") if not uri else None:
        fields["auth_mechanism"] = mechanism
    found = options_from_environment(variables, prefix) if prefix != "MONGODB_" else {}
    sizes = {POOL_OPTIONS.get(key, key): each.value for key, each in found.items()}
    return {**fields, "options": {**fields.get("options", {}), **sizes}, "environment_prefix": prefix}


def _from_uri(uri: str, database: str | None) -> dict[str, Any]:
    named = split(uri).database
    return {"mongo_uri": Secret(uri), "database_name": None if named else database}


def _from_parts(prefix: str, read: Any) -> dict[str, Any]:
    username, password, host = read("USERNAME"), read("PASSWORD"), read("HOST") or "localhost"
    if password and not username:
        raise PoolConfigurationError(f"{prefix}PASSWORD is set, but {prefix}USERNAME is not.")
    if "://" in host:
        raise PoolConfigurationError(f"{prefix}HOST is a host name; a connection string belongs into {prefix}URI.")
    port = _port(read("PORT") or 27017, f"{prefix}PORT")
    try:
        hosts = parse_hosts(host) if "," in host or host.count(":") == 1 else (_server(host, port),)
        fields = _fields("mongodb", hosts, read("DATABASE"), username, Secret(password) if password else None)
    except PoolConfigurationError as error:
        reason = str(error)
    else:
        return {**fields, **_extras(prefix, read, username)}
    raise PoolConfigurationError(f"{prefix}HOST, {prefix}USERNAME, {prefix}PASSWORD or {prefix}DATABASE: {reason}")


def _extras(prefix: str, read: Any, username: str | None) -> dict[str, Any]:
    external = (read("AUTH_MECHANISM") or "") in {"MONGODB-X509", "MONGODB-AWS", "MONGODB-OIDC", "GSSAPI", "PLAIN"}
    source = read("AUTH_SOURCE") or ("admin" if username and not external else None)
    tls = (read("TLS") or "").lower()
    if tls not in {"", "true", "false"}:
        raise PoolConfigurationError(f"{prefix}TLS must be true or false, not {describe(tls)}.")
    return {
        "auth_source": source,
        "replica_set_name": read("REPLICA_SET"),
        "tls": {"": None, "true": True, "false": False}[tls],
    }
