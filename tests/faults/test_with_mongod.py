"""The fault proxy between a driver and a real mongod, alone and in a replica set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, NetworkTimeout, PyMongoError, ServerSelectionTimeoutError

from tests.timing import now

from .proxy import FaultProxy
from .replica_set import ProxiedReplicaSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Client = MongoClient[dict[str, Any]]


@pytest.fixture
def proxy(mongod: Any) -> Iterator[FaultProxy]:
    with FaultProxy((mongod.host, mongod.port)) as running:
        yield running


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[Client]:
    options = {
        "serverSelectionTimeoutMS": 500,
        "connectTimeoutMS": 500,
        "socketTimeoutMS": 500,
        "retryReads": False,
    }
    made: Client = MongoClient(proxy.uri, heartbeatFrequencyMS=500, **options)  # type: ignore[arg-type]
    made.admin.command("ping")
    yield made
    proxy.heal()
    made.close()


def answers(client: Client) -> bool:
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    return True


def test_latency_is_seen_by_every_command(proxy: FaultProxy, client: Client) -> None:
    proxy.latency(0.1, 0.1)
    began = now()
    client.admin.command("ping")
    assert 0.2 <= now() - began < 0.45


def test_a_trickle_is_a_slow_answer(proxy: FaultProxy, client: Client, mongodb_database: str) -> None:
    collection = client[mongodb_database].documents
    collection.insert_one({"_id": 1, "text": "x" * 10_000})
    proxy.trickle(to_client=40_000)
    began = now()
    assert collection.find_one() == {"_id": 1, "text": "x" * 10_000}
    assert now() - began > 0.15


@pytest.mark.parametrize("fault", [FaultProxy.blackhole, FaultProxy.deafen])
def test_silence_is_a_network_timeout(
    proxy: FaultProxy, client: Client, fault: Any, wait_until: Callable[..., None]
) -> None:
    fault(proxy)
    began = now()
    with pytest.raises((NetworkTimeout, ServerSelectionTimeoutError, AutoReconnect)):
        client.admin.command("ping")
    assert 0.4 <= now() - began < 1.5
    proxy.heal()
    wait_until(lambda: answers(client))


def test_a_reset_is_one_error_and_the_driver_connects_again(
    proxy: FaultProxy, client: Client, wait_until: Callable[..., None]
) -> None:
    assert proxy.reset() >= 1
    wait_until(lambda: answers(client))
    assert proxy.counts().accepted > proxy.counts().reset


def test_a_cut_host_is_refused_until_it_is_back(
    proxy: FaultProxy, client: Client, wait_until: Callable[..., None]
) -> None:
    proxy.cut()
    with pytest.raises(AutoReconnect):
        client.admin.command("ping")
    with pytest.raises(ServerSelectionTimeoutError, match="refused"):
        client.admin.command("ping")
    proxy.heal()
    wait_until(lambda: answers(client))


def test_a_full_backlog_is_a_timeout_of_the_connect(proxy: FaultProxy) -> None:
    proxy.stop_accepting()
    stranger: Client = MongoClient(proxy.uri, serverSelectionTimeoutMS=800, connectTimeoutMS=200)
    try:
        with pytest.raises(ServerSelectionTimeoutError, match="timed out"):
            stranger.admin.command("ping")
    finally:
        stranger.close()


@pytest.mark.serial
def test_a_cut_off_primary_is_replaced_and_clients_never_pass_the_proxies_by(
    wait_until: Callable[..., None],
) -> None:
    with ProxiedReplicaSet() as replica_set:
        client: Client = MongoClient(replica_set.client_uri, heartbeatFrequencyMS=500, w="majority")
        try:
            addresses = {(proxy.host, proxy.port) for proxy in replica_set.proxies}
            client.test.documents.insert_one({"_id": "before"})
            assert set(client.nodes) == addresses
            old = replica_set.primary
            cut_off = (replica_set.proxy_of(old).host, replica_set.proxy_of(old).port)
            assert client.primary == cut_off
            replica_set.proxy_of(old).blackhole()
            wait_until(lambda: replica_set.primary is not old, 20)
            wait_until(lambda: client.primary not in (None, cut_off), 20)
            client.test.documents.insert_one({"_id": "during"})
            replica_set.heal()
            replica_set.wait_until_healthy(30)
            assert {each["_id"] for each in client.test.documents.find()} == {"before", "during"}
        finally:
            client.close()
