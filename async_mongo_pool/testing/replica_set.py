"""A replica set of our own."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from pymongo.errors import PyMongoError

from async_mongo_pool.testing.errors import ServerError
from async_mongo_pool.testing.mongod import Mongod
from async_mongo_pool.testing.server import open_client
from async_mongo_pool.testing.tls import Certificates
from async_mongo_pool.testing.users import User, build_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from pymongo import MongoClient

__all__ = ["MemberOptions", "ReplicaSet"]

_SETTINGS = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 200}
_INTERVAL = 0.05
_LOOK_TIMEOUT = 1.0


class MemberOptions(TypedDict, total=False):
    """The options of `Mongod` that all members of a replica set take."""

    auth: bool
    users: Sequence[User]
    tls: bool | Certificates
    client_certificate_required: bool
    parameters: Mapping[str, str | int]
    arguments: Sequence[str]
    binary: str | Path
    start_timeout: float
    keep_logs_in: str | Path


class ReplicaSet:
    """A replica set of mongods of our own; a context manager: entering starts it, leaving stops it.

    An election takes about two seconds. With `auth` the members share a key file.

    Args:
        size: How many members. Default 3.
        name: The set's name. Default ``rs``.
        health_timeout: Seconds until there must be one primary, and all others secondaries. Default 60.
        options: Those of `Mongod`, for each member.

    Attributes:
        members: The members, in the order of the configuration.
        name: The set's name.

    Raises:
        MongodNotFoundError: There is no mongod to run.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        name: str = "rs",
        health_timeout: float = 60.0,
        **options: Unpack[MemberOptions],
    ) -> None:
        if size < 1:
            raise ValueError(f"a replica set has at least one member, not {size}")
        self.name = name
        self._health_timeout = health_timeout
        if options.get("tls") is True:
            options["tls"] = Certificates()
        key = token_hex(32) if options.get("auth") else None
        self.members = [Mongod(replica_set=name, cluster_key=key, **options) for _ in range(size)]
        for member in self.members[1:]:
            member.root = self.members[0].root

    def __repr__(self) -> str:
        return f"<ReplicaSet {self.name} {self.members}>"

    @property
    def uri(self) -> str:
        """The connection string with all members: as ``root`` where there is authentication."""
        return self.uri_for(self.members[0].root)

    @property
    def primary(self) -> Mongod:
        """The member that is the primary now; waits for an election, for `health_timeout` seconds at most.

        Raises:
            ServerError: There was none in that time.
        """
        return self._wait_for_primary(self._health_timeout)

    def uri_for(self, user: User | None) -> str:
        """The connection string of this user; None for one without credentials.

        Args:
            user: One of the set's users, or any other, to see it refused.
        """
        addresses = [f"{member.host}:{member.port}" for member in self.members]
        return build_uri(addresses, user, self.members[0].tls_files, {"replicaSet": self.name})

    def start(self) -> Self:
        """Start all members and wait until the set is healthy.

        Raises:
            ServerError: A member did not start, or the set did not get healthy; nothing is left of it.
        """
        try:
            for member in self.members:
                member.launch()
            for member in self.members:
                member.wait_ready()
            self._initiate()
            self.wait_until_healthy()
            self.primary.create_users()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all members, also when one of them resists; nothing happens twice."""
        with ExitStack() as stack:
            for member in self.members:
                stack.callback(member.stop)

    def wait_until_healthy(self, timeout: float | None = None) -> None:
        """Wait until one member is the primary and all others are secondaries.

        Args:
            timeout: Seconds to wait at most. Default: `health_timeout`.

        Raises:
            ServerError: They were not.
        """
        healthy = ["primary"] + ["secondary"] * (len(self.members) - 1)
        bound = self._health_timeout if timeout is None else timeout
        deadline = time.monotonic() + bound
        with self._observers() as observers:
            while sorted(states := [_state(observer) for observer in observers]) != healthy:
                if time.monotonic() >= deadline:
                    raise self._failure("one primary and all others secondaries", bound, states)
                time.sleep(_INTERVAL)

    def set_election_timeout(self, seconds: float) -> None:
        """Change for how long the members miss their primary before they elect another.

        A machine that is busy for two seconds looks like a lost primary: where no election is wanted, take more.

        Args:
            seconds: Above 0. A new set has 2.

        Raises:
            ServerError: The primary refused.
        """
        primary = self.primary
        try:
            with primary.client() as client:
                configuration = client.admin.command("replSetGetConfig")["config"]
                configuration["settings"]["electionTimeoutMillis"] = int(seconds * 1000)
                configuration["version"] += 1
                client.admin.command("replSetReconfig", configuration)
        except PyMongoError as error:
            raise ServerError(f"{primary!r} refused: {error}. Its log:\n{primary.log_tail()}") from error

    def step_down(self, seconds: int = 10, timeout: float = 30.0) -> Mongod:
        """Let the primary step down and return the next one.

        Args:
            seconds: For how long the old one may not be elected again. Default 10.
            timeout: Seconds until another one must be the primary. Default 30.

        Raises:
            ServerError: The primary refused, or no other was elected.
        """
        if len(self.members) == 1:
            raise ServerError("a replica set of one member has no other primary")
        old = self.primary
        command = {"replSetStepDown": seconds, "secondaryCatchUpPeriodSecs": max(1, seconds // 2)}
        try:
            with old.client() as client:
                client.admin.command(command)
        except PyMongoError as error:
            raise ServerError(f"{old!r} did not step down: {error}. Its log:\n{old.log_tail()}") from error
        return self._wait_for_primary(timeout, other_than=old)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _initiate(self) -> None:
        members = [{"_id": n, "host": f"{m.host}:{m.port}"} for n, m in enumerate(self.members)]
        configuration = {"_id": self.name, "members": members, "settings": _SETTINGS}
        first = self.members[0]
        try:
            with open_client(first.uri_for(None)) as client:
                client.admin.command("replSetInitiate", configuration)
        except PyMongoError as error:
            raise ServerError(f"{first!r} was refused: {error}. Its log:\n{first.log_tail()}") from error

    def _wait_for_primary(self, timeout: float, other_than: Mongod | None = None) -> Mongod:
        deadline = time.monotonic() + timeout
        with self._observers() as observers:
            while True:
                states = [_state(observer) for observer in observers]
                for member, state in zip(self.members, states, strict=True):
                    if state == "primary" and member is not other_than:
                        return member
                if time.monotonic() >= deadline:
                    raise self._failure("a primary", timeout, states)
                time.sleep(_INTERVAL)

    @contextmanager
    def _observers(self) -> Iterator[list[MongoClient[dict[str, Any]]]]:
        """One client for each member; without credentials, which do not exist before there is a primary."""
        with ExitStack() as stack:
            anonymous = [open_client(member.uri_for(None), _LOOK_TIMEOUT) for member in self.members]
            yield [stack.enter_context(client) for client in anonymous]

    def _failure(self, awaited: str, timeout: float, states: Sequence[str]) -> ServerError:
        logs = "\n".join(f"{member!r}:\n{member.log_tail(10)}" for member in self.members)
        return ServerError(f"waited {timeout:g} s in vain for {awaited}: they are {states}.\n{logs}")


def _state(observer: MongoClient[dict[str, Any]]) -> str:
    try:
        hello = observer.admin.command("hello")
    except PyMongoError as error:
        return f"unreachable ({type(error).__name__})"
    if hello.get("isWritablePrimary"):
        return "primary"
    return "secondary" if hello.get("secondary") else "starting"
