"""Users of a server, and the connection strings that let them in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from async_mongo_pool.testing.tls import TlsFiles

__all__ = ["User", "build_uri"]


@dataclass(frozen=True)
class User:
    """A database user.

    Attributes:
        username: The name; for X.509 the certificate's subject.
        password: The password; None for X.509.
        roles: The roles. Default: read and write every database.
        database: Where the user is defined (`authSource`). Default ``admin``; ``$external`` for X.509.
    """

    username: str
    password: str | None = field(repr=False)
    roles: tuple[str, ...] = ("readWriteAnyDatabase",)
    database: str = "admin"

    def creation(self) -> dict[str, Any]:
        """The command that creates the user."""
        # Roles live in admin; those of a user of another database are that database's own.
        home = "admin" if self.database in ("admin", "$external") else self.database
        roles = [{"role": role, "db": home} for role in self.roles]
        password = {} if self.password is None else {"pwd": self.password}
        return {"createUser": self.username, "roles": roles, **password}


def build_uri(
    addresses: Sequence[str], user: User | None, tls_files: TlsFiles | None, options: Mapping[str, str]
) -> str:
    """A connection string, everything in it quoted."""
    parameters = dict(options)
    credentials = ""
    if user is not None:
        password = "" if user.password is None else f":{quote_plus(user.password)}"
        credentials = f"{quote_plus(user.username)}{password}@"
        parameters["authSource"] = user.database
        if user.password is None:
            parameters["authMechanism"] = "MONGODB-X509"
    if tls_files is not None:
        parameters["tls"] = "true"
        parameters["tlsCAFile"] = str(tls_files.ca_file)
        parameters["tlsCertificateKeyFile"] = str(tls_files.client_file)
    query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
    return f"mongodb://{credentials}{','.join(addresses)}/{query}"


def _role_database(user: User) -> str:
    # Roles live in admin; those of a user of another database are that database's own.
    return "admin" if user.database in ("admin", "$external") else user.database
