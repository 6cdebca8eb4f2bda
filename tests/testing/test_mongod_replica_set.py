from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import OperationFailure

from async_mongo_pool.testing import ReplicaSet, ServerError, User

if TYPE_CHECKING:
    from collections.abc import Iterator

Client = MongoClient[dict[str, Any]]

EVERYWHERE = WriteConcern(w=3, wtimeout=10_000)
CLERK = User("clerk", "p@ss/wo:rd")


@pytest.fixture(scope="module")
def replica_set() -> Iterator[ReplicaSet]:
    with ReplicaSet() as started:
        yield started


def write_everywhere(uri: str) -> None:
    with Client(uri, serverSelectionTimeoutMS=10_000) as client:
        client.get_database("shop", write_concern=EVERYWHERE).orders.insert_one({})


def test_a_write_reaches_all_three(replica_set: ReplicaSet) -> None:
    write_everywhere(replica_set.uri)
    assert len({member.port for member in replica_set.members}) == 3
    assert replica_set.primary in replica_set.members


def test_a_step_down_makes_another_one_primary(replica_set: ReplicaSet) -> None:
    old = replica_set.primary
    new = replica_set.step_down()
    assert new is not old
    replica_set.wait_until_healthy()
    write_everywhere(replica_set.uri)


def test_a_killed_primary_is_replaced_and_comes_back(replica_set: ReplicaSet) -> None:
    old = replica_set.primary
    old.kill()
    assert replica_set.primary is not old
    with pytest.raises(ServerError, match="waited 0 s in vain for one primary"):
        replica_set.wait_until_healthy(timeout=0)
    old.restart()
    replica_set.wait_until_healthy()
    write_everywhere(replica_set.uri)


def test_elections_can_be_made_rarer(replica_set: ReplicaSet) -> None:
    replica_set.set_election_timeout(7)
    with replica_set.primary.client() as client:
        settings = client.admin.command("replSetGetConfig")["config"]["settings"]
    assert settings["electionTimeoutMillis"] == 7000
    replica_set.set_election_timeout(2)
    replica_set.wait_until_healthy()


def test_a_set_of_one_with_authentication_and_tls() -> None:
    with ReplicaSet(1, name="solo", auth=True, users=[CLERK], tls=True) as solo:
        for uri in (solo.uri, solo.uri_for(CLERK), solo.members[0].uri):
            with Client(uri, serverSelectionTimeoutMS=5000) as client:
                client.shop.orders.insert_one({})
        refusal = pytest.raises(OperationFailure, match="requires authentication")
        with Client(solo.uri_for(None), serverSelectionTimeoutMS=5000) as client, refusal:
            client.shop.orders.find_one()
        with pytest.raises(ServerError, match="no other primary"):
            solo.step_down()


def test_members_with_authentication_trust_each_other() -> None:
    with ReplicaSet(3, auth=True) as guarded:
        write_everywhere(guarded.uri)


def test_a_set_is_healthy_when_it_is_started() -> None:
    with ReplicaSet() as started:
        started.wait_until_healthy(timeout=0)


def test_an_empty_set_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one member"):
        ReplicaSet(0)
