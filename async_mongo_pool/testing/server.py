"""A MongoDB server to test with: the administrative view of it, and one that exists already."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.monitoring import ServerHeartbeatListener
from pymongo.uri_parser import parse_uri

from async_mongo_pool.testing.errors import ServerError, ServerNotOwnedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from pymongo.monitoring import (
        ServerHeartbeatFailedEvent,
        ServerHeartbeatStartedEvent,
        ServerHeartbeatSucceededEvent,
    )

__all__ = ["ExistingServer", "Server"]

APPLICATION_NAME = "async_mongo_pool.testing"
_SELECTION_TIMEOUT = 5.0
_SOCKET_TIMEOUT = 10.0


class Server:
    """A MongoDB server: what can be asked of every one of them.

    A context manager: entering starts it, leaving stops it. Every question opens a client of its own and
    closes it; servers are selected within 5 s and an answer is awaited for 10 s.
    """

    @property
    def uri(self) -> str:
        """The connection string, with the credentials and certificates it takes to get in."""
        raise NotImplementedError

    @property
    def host(self) -> str:
        """The host of the (first) server."""
        return self._address()[0]

    @property
    def port(self) -> int:
        """The port of the (first) server."""
        return self._address()[1]

    @property
    def pid(self) -> int:
        """The process id of mongod.

        Raises:
            ServerNotOwnedError: The server was not started here.
        """
        return self._not_owned("the process id is unknown")

    def start(self) -> Self:
        """Start the server and return it when it accepts connections; nothing happens when it runs."""
        return self

    def stop(self) -> None:
        """Stop the server and remove what it left; nothing happens when it was stopped before."""

    def kill(self) -> None:
        """End mongod at once (SIGKILL) and wait for it; its data stays, `restart` brings it back."""
        self._not_owned("it cannot be killed")

    def suspend(self) -> None:
        """Freeze mongod (SIGSTOP): connections stay, no answer comes."""
        self._not_owned("it cannot be suspended")

    def resume(self) -> None:
        """Let a suspended mongod continue (SIGCONT)."""
        self._not_owned("it cannot be resumed")

    def restart(self) -> None:
        """Shut mongod down cleanly, if it runs, and start it again: same port, same data."""
        self._not_owned("it cannot be restarted")

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of the server's log; empty when there is no access to it.

        Args:
            lines: How many. Default 30.
        """
        del lines
        return ""

    @contextmanager
    def client(self, selection_timeout: float = _SELECTION_TIMEOUT) -> Iterator[MongoClient[dict[str, Any]]]:
        """A short-lived client of the administrator, closed at the end of the block.

        Args:
            selection_timeout: Seconds to wait for the server at most. Default 5.
        """
        with open_client(self.uri, selection_timeout) as client:
            yield client

    def connection_count(self) -> int:
        """How many connections the server has, of everybody: the one or two of this question included.

        Raises:
            ServerError: The server did not answer.
        """
        with self._asking("connections.current of serverStatus"), self.client() as client:
            return int(client.admin.command("serverStatus")["connections"]["current"])

    def connections(self, appname: str | None = None) -> list[dict[str, Any]]:
        """The connections that the server sees, busy and idle, as ``$currentOp`` describes them.

        The drivers' monitoring connections carry the appname too: one or two for each client and server.

        Args:
            appname: Only those of clients with this ``appname``. Default: all of them.

        Raises:
            ServerError: The server did not answer.
        """
        view = {"$currentOp": {"allUsers": True, "idleConnections": True, "idleSessions": False}}
        wanted: Mapping[str, Any] = {"client": {"$exists": True}} if appname is None else {"appName": appname}
        with self._asking("the connections"), self.client() as client:
            return list(client.admin.aggregate([view, {"$match": wanted}]))

    @contextmanager
    def fail_point(
        self,
        name: str,
        mode: str | Mapping[str, Any] = "alwaysOn",
        data: Mapping[str, Any] | None = None,
    ) -> Iterator[None]:
        """Switch a fail point of the server on for the block, and off after it.

        Args:
            name: For instance ``failCommand``.
            mode: ``"alwaysOn"`` (default), ``{"times": 2}``, ``{"skip": 1}`` or
                ``{"activationProbability": 0.1}``.
            data: For instance ``{"failCommands": ["find"], "errorCode": 91, "appName": "orders"}``.

        Raises:
            ServerError: The server refused it, or did not answer.
        """
        # One client for both ends, which does not look at the server in between: a fail point that breaks the
        # handshake must not lock out the command that ends it.
        with self.client() as client:
            with self._asking(f"the fail point {name}"):
                client.admin.command("configureFailPoint", name, mode=mode, data=dict(data or {}))
            try:
                yield
            finally:
                if self._answers():
                    with self._asking(f"the end of the fail point {name}"):
                        client.admin.command("configureFailPoint", name, mode="off")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _address(self) -> tuple[str, int]:
        host, port = parse_uri(self.uri)["nodelist"][0]
        return host, port or 27017

    def _answers(self) -> bool:
        """Whether it makes sense to talk to the server: not after it was killed."""
        return True

    def _not_owned(self, consequence: str) -> NoReturn:
        raise ServerNotOwnedError(f"the server of MONGODB_URI was not started here: {consequence}")

    @contextmanager
    def _asking(self, question: str) -> Iterator[None]:
        """Say, where the driver fails, what was asked, how long it could take, and what the log says."""
        try:
            yield
        except PyMongoError as error:
            bound = f"{_SELECTION_TIMEOUT:g} s to find the server, {_SOCKET_TIMEOUT:g} s for an answer"
            tail = self.log_tail()
            log = f". The tail of its log:\n{tail}" if tail else ""
            raise ServerError(f"no answer to: {question} ({bound}): {error}{log}") from error


class ExistingServer(Server):
    """The server that ``MONGODB_URI`` names. It is used, and neither started nor stopped.

    Args:
        uri: Its connection string.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @property
    def uri(self) -> str:
        """The connection string."""
        return self._uri

    def __repr__(self) -> str:
        return f"<ExistingServer {self.host}:{self.port}>"


@contextmanager
def open_client(
    uri: str, selection_timeout: float = _SELECTION_TIMEOUT, **options: Any
) -> Iterator[MongoClient[dict[str, Any]]]:
    """A plain client with bounds on everything, closed at the end of the block."""
    first_look = _FirstLook()
    client: MongoClient[dict[str, Any]] = MongoClient(
        uri,
        event_listeners=[first_look],
        appname=APPLICATION_NAME,
        serverSelectionTimeoutMS=int(selection_timeout * 1000),
        connectTimeoutMS=2000,
        socketTimeoutMS=int(_SOCKET_TIMEOUT * 1000),
        # One look at the server, when the client is made or cannot find it: few connections of our own.
        serverMonitoringMode="poll",
        heartbeatFrequencyMS=600_000,
        **options,
    )
    try:
        # An operation before that would order a second look, at any time within half a second: a fail point that
        # breaks the handshake would then cut this client off too.
        first_look.taken.wait(selection_timeout)
        yield client
    finally:
        client.close()


class _FirstLook(ServerHeartbeatListener):
    """Tells when a client has looked at its server once."""

    def __init__(self) -> None:
        self.taken = threading.Event()

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        """Nothing: the look has only begun."""

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        """The server answered."""
        self.taken.set()

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        """It did not: selecting a server will look again."""
        self.taken.set()
