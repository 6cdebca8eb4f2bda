"""The replica set of the laboratory: its settings, and what it could do by itself while something was wrong."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.faults.replica_set import ProxiedReplicaSet

from .contestants import DATABASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from async_mongo_pool.testing import Mongod

    from .failures import Fault

__all__ = ["Witness", "laboratory_set"]

PROMPT_PARAMETERS: dict[str, str | int] = {
    "oplogNetworkTimeoutBufferSeconds": 1,
    "oplogFetcherSteadyStateMaxFetcherRestarts": 0,
}
"""A secondary leaves a primary that fell silent after about 2 s instead of 12 and more."""
PROMPT_SETTINGS = {"catchUpTimeoutMillis": 0}
"""A new primary does not wait for word from the silent one, which takes another election timeout."""
PATIENT_PARAMETERS: dict[str, str | int] = {"oplogNetworkTimeoutBufferSeconds": 60}
PATIENT_SETTINGS = {"electionTimeoutMillis": 60_000}
LOOK = 0.02
LIMIT = 0.3
WRITE_LIMIT = 20.0
OVERALL_LIMIT = 30.0


@contextmanager
def laboratory_set(fault: Fault, *, prompt: bool = True) -> Iterator[ProxiedReplicaSet]:
    """Run three members behind proxies that elect a new primary after 2 s, if they do.

    Not one set for all faults: how long a secondary waits for the next entry of the oplog was settled when it
    began to ask, whatever the configuration says since.

    Args:
        fault: What is going to happen.
        prompt: Whether the servers are told to notice a silent member soon too. Default True; else everything but
            the election timeout is the server's own default.
    """
    settings, parameters = {}, {}
    if fault.borne:
        settings, parameters = PATIENT_SETTINGS, PATIENT_PARAMETERS
    elif prompt:
        settings, parameters = PROMPT_SETTINGS, PROMPT_PARAMETERS
    with ProxiedReplicaSet(parameters=parameters) as replica_set:
        configure(replica_set, settings)
        yield replica_set


def configure(replica_set: ProxiedReplicaSet, settings: Mapping[str, int]) -> None:
    """Change settings of the replica set's configuration."""
    with replica_set.primary.client() as client:
        configuration = client.admin.command("replSetGetConfig")["config"]
        configuration["settings"].update(settings)
        configuration["version"] += 1
        client.admin.command("replSetReconfig", configuration)


class Witness:
    """Writes to whoever is the primary, without a driver's search for it, and shows what the set itself can do.

    For each member a thread asks it directly, past its proxy, whether it is the primary, and if so writes there
    with `w="majority"`. Its longest gap is what no client can fall short of by much.
    """

    def __init__(self, replica_set: ProxiedReplicaSet, collection: str) -> None:
        self.moments: list[float] = []
        self.collection = collection
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(member,), name="witness", daemon=True)
            for member in replica_set.members
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(OVERALL_LIMIT)

    def _watch(self, member: Mongod) -> None:
        options: dict[str, Any] = {
            "directConnection": True,
            "serverSelectionTimeoutMS": int(LIMIT * 1000),
            "connectTimeoutMS": int(LIMIT * 1000),
            "heartbeatFrequencyMS": 500,
            "socketTimeoutMS": int(WRITE_LIMIT * 1000),
            "retryWrites": False,
            "w": "majority",
        }
        with MongoClient[dict[str, Any]](member.uri_for(None), **options) as client:
            while not self._over.wait(LOOK):
                try:
                    self._write(client)
                except PyMongoError:
                    continue

    def _write(self, client: MongoClient[dict[str, Any]]) -> None:
        if not client.admin.command("hello")["isWritablePrimary"]:
            return
        client[DATABASE][self.collection].insert_one({})
        self.moments.append(time.monotonic())
