"""What an open asynchronous pool hands out, typed by its backend; nothing here waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, overload

from typing_extensions import TypeVar

from .loops import running_loop

if TYPE_CHECKING:
    from bson.codec_options import CodecOptions
    from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
    from pymongo import AsyncMongoClient
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.read_concern import ReadConcern
    from pymongo.read_preferences import _ServerMode
    from pymongo.write_concern import WriteConcern

    MotorClient: TypeAlias = AsyncIOMotorClient[dict[str, Any]]
    PyMongoClient: TypeAlias = AsyncMongoClient[dict[str, Any]]

    from .pool_base import PoolBase as _Base
else:

    class _Base:
        """A class under PoolBase is a pool; this is a part of one."""


__all__ = ["AsyncAccess", "Backend", "ClientT"]

ClientT = TypeVar(
    "ClientT",
    bound="AsyncIOMotorClient[Any] | AsyncMongoClient[Any]",
    default="AsyncIOMotorClient[dict[str, Any]]",
)
Backend: TypeAlias = Literal["motor", "pymongo"]


class AsyncAccess(_Base, Generic[ClientT]):
    """The client and its databases."""

    @overload
    @classmethod
    def get_client(cls, backend: None = None) -> ClientT | None: ...
    @overload
    @classmethod
    def get_client(cls, backend: Literal["motor"]) -> MotorClient | None: ...
    @overload
    @classmethod
    def get_client(cls, backend: Literal["pymongo"]) -> PyMongoClient | None: ...

    @classmethod
    def get_client(cls, backend: Backend | None = None) -> Any:
        """The open client, or None; never raises and costs next to nothing.

        Args:
            backend: The backend that the caller expects, for type checkers where ``initialize`` chose it; with
                another one open the answer is None.
        """
        opened = cls._lifecycle.opened
        if opened is None or (backend is not None and opened.handle.backend != backend):
            return None
        if opened.loop is None or opened.loop.is_running():
            return opened.client
        return cls._lifecycle.client_for(running_loop())

    # mypy does not put a type parameter's default into a `cls` annotation, so Motor's overload has none.
    @overload
    @classmethod
    def get_database(
        cls: type[AsyncAccess[AsyncMongoClient[dict[str, Any]]]],
        name: str | None = None,
        *,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> AsyncDatabase[dict[str, Any]]: ...
    @overload
    @classmethod
    def get_database(  # type: ignore[overload-overlap]
        cls: type[AsyncAccess[AsyncMongoClient[Any]]],
        name: str | None = None,
        *,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> AsyncDatabase[Any]: ...
    @overload
    @classmethod
    def get_database(
        cls,
        name: str | None = None,
        *,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> AsyncIOMotorDatabase[dict[str, Any]]: ...

    @classmethod
    def get_database(
        cls,
        name: str | None = None,
        *,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Any:
        """A database of the open client.

        Args:
            name: The database's name; by default the one in the connection string.
            codec_options: As for the driver's ``get_database``; None inherits the client's.
            read_preference: Likewise.
            write_concern: Likewise.
            read_concern: Likewise.

        Raises:
            PoolNotInitializedError: The pool is not open.
            PoolClosingError: The pool is closing.
            PoolConfigurationError: No database was named anywhere.
        """
        return cls._database(
            name,
            codec_options=codec_options,
            read_preference=read_preference,
            write_concern=write_concern,
            read_concern=read_concern,
        )
