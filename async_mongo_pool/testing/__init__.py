"""A real MongoDB for tests: servers, replica sets, and the pytest fixtures in `plugin`.

pytest loads the plugin, and with it this module, in every run of everybody who has the package installed: the
names below are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from async_mongo_pool.testing.errors import MongodNotFoundError, ServerError, ServerNotOwnedError
    from async_mongo_pool.testing.locate import existing_uri, locate_mongod
    from async_mongo_pool.testing.mongod import Mongod, open_server
    from async_mongo_pool.testing.replica_set import ReplicaSet
    from async_mongo_pool.testing.server import ExistingServer, Server
    from async_mongo_pool.testing.tls import Certificates, TlsFiles
    from async_mongo_pool.testing.users import User
    from async_mongo_pool.testing.waiting import wait_until, wait_until_async

__all__ = [
    "Certificates",
    "ExistingServer",
    "Mongod",
    "MongodNotFoundError",
    "ReplicaSet",
    "Server",
    "ServerError",
    "ServerNotOwnedError",
    "TlsFiles",
    "User",
    "existing_uri",
    "locate_mongod",
    "open_server",
    "wait_until",
    "wait_until_async",
]

_MODULES = {
    "Certificates": "tls",
    "ExistingServer": "server",
    "Mongod": "mongod",
    "MongodNotFoundError": "errors",
    "ReplicaSet": "replica_set",
    "Server": "server",
    "ServerError": "errors",
    "ServerNotOwnedError": "errors",
    "TlsFiles": "tls",
    "User": "users",
    "existing_uri": "locate",
    "locate_mongod": "locate",
    "open_server": "mongod",
    "wait_until": "waiting",
    "wait_until_async": "waiting",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
