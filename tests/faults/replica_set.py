"""A replica set whose members are reached through fault proxies, by clients and by one another."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Unpack

from async_mongo_pool.testing.replica_set import ReplicaSet
from async_mongo_pool.testing.users import User, build_uri

from .proxy import FaultProxy

if TYPE_CHECKING:
    from async_mongo_pool.testing.mongod import Mongod
    from async_mongo_pool.testing.replica_set import MemberOptions

__all__ = ["ProxiedReplicaSet"]


class _Address:
    """What the configuration of the set shows of a member: the address of its proxy."""

    def __init__(self, proxy: FaultProxy, member: Mongod) -> None:
        self.host, self.port = proxy.host, proxy.port
        self._member = member

    def uri_for(self, user: User | None) -> str:
        return self._member.uri_for(user)


class ProxiedReplicaSet(ReplicaSet):
    """A replica set whose members advertise the ports of fault proxies.

    A member that is cut off by its proxy cannot be reached by anybody; it still reaches the others through theirs,
    learns of a newer primary and steps down.

    Args:
        size: How many members. Default 3.
        options: As for ``ReplicaSet``.

    Attributes:
        proxies: Each member's proxy, in the order of the members; they exist from `start` to `stop`.
    """

    def __init__(self, size: int = 3, **options: Unpack[MemberOptions]) -> None:
        super().__init__(size, **options)
        self.proxies: list[FaultProxy] = []
        self._stack = ExitStack()

    @property
    def client_uri(self) -> str:
        """The connection string with all proxies; ``uri`` passes them by and finds no member of that name."""
        return self.client_uri_for(self.members[0].root)

    def client_uri_for(self, user: User | None, **options: str) -> str:
        """The same for this user, with more options."""
        addresses = [f"{proxy.host}:{proxy.port}" for proxy in self.proxies]
        return build_uri(addresses, user, self.members[0].tls_files, {"replicaSet": self.name, **options})

    def proxy_of(self, member: Mongod) -> FaultProxy:
        """The proxy in front of this member."""
        return self.proxies[self.members.index(member)]

    def heal(self) -> None:
        """End the faults of every proxy."""
        for proxy in self.proxies:
            proxy.heal()

    def stop(self) -> None:
        """Stop all members, then the proxies."""
        try:
            super().stop()
        finally:
            self._stack.close()
            self.proxies = []

    def _initiate(self) -> None:
        # Only now are the members' ports certain.
        self.proxies = [self._stack.enter_context(FaultProxy((each.host, each.port))) for each in self.members]
        real: Any = self.members
        shown: Any = [_Address(proxy, member) for proxy, member in zip(self.proxies, real, strict=True)]
        self.members = shown
        try:
            super()._initiate()
        finally:
            self.members = real
