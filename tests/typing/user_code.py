"""What a user writes, with each entry point: mypy strict and pyright accept it without a cast.

`make lint` runs both type checkers over this file; nothing imports it.
"""

from __future__ import annotations

from typing import Any, assert_type

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.synchronous.database import Database

from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool, OptionInForce, PoolConfig

Document = dict[str, Any]
URI = "mongodb://localhost:27017/app"


class OrdersPool(AsyncMongoDBConnectionPool): ...


class EventsPool(AsyncMongoDBConnectionPool[AsyncMongoClient[Document]]): ...


class KeywordPool(AsyncMongoDBConnectionPool, backend="pymongo"): ...


class TwinPool(MongoDBConnectionPool): ...


async def connection() -> str:
    return URI


async def by_default() -> None:
    client = await AsyncMongoDBConnectionPool.initialize(URI, maxPoolSize=200, timeout=3, warm_up=True)
    assert_type(client, AsyncIOMotorClient[Document])
    assert_type(AsyncMongoDBConnectionPool.get_client(), AsyncIOMotorClient[Document] | None)
    assert_type(AsyncMongoDBConnectionPool.get_database(), AsyncIOMotorDatabase[Document])
    async with AsyncMongoDBConnectionPool.scope(URI) as scoped:
        assert_type(scoped, AsyncIOMotorClient[Document])
    await OrdersPool.initialize(connection, preset="production")
    await OrdersPool.initialize(PoolConfig.local(database="app"))
    assert_type(OrdersPool.get_client(), AsyncIOMotorClient[Document] | None)
    assert_type(await client.app.users.find_one({}), Document | None)


async def by_argument() -> None:
    client = await AsyncMongoDBConnectionPool.initialize(URI, backend="pymongo")
    assert_type(client, AsyncMongoClient[Document])
    assert_type(AsyncMongoDBConnectionPool.get_client(backend="pymongo"), AsyncMongoClient[Document] | None)
    async with AsyncMongoDBConnectionPool.scope(URI, backend="pymongo") as scoped:
        assert_type(scoped, AsyncMongoClient[Document])
    assert_type(await AsyncMongoDBConnectionPool.initialize(URI, backend="motor"), AsyncIOMotorClient[Document])


async def by_type() -> None:
    client = await EventsPool.initialize(URI)
    assert_type(client, AsyncMongoClient[Document])
    assert_type(EventsPool.get_client(), AsyncMongoClient[Document] | None)
    assert_type(EventsPool.get_database("app"), AsyncDatabase[Document])
    async with EventsPool.scope(URI) as scoped:
        assert_type(scoped, AsyncMongoClient[Document])


async def around() -> None:
    AsyncMongoDBConnectionPool.configure(URI, maxPoolSize=5)
    assert_type(await AsyncMongoDBConnectionPool.get_pool_stats(), dict[str, Any])
    assert_type(AsyncMongoDBConnectionPool.explain(), tuple[OptionInForce, ...])
    assert_type(AsyncMongoDBConnectionPool.named("orders"), type[AsyncMongoDBConnectionPool])
    await AsyncMongoDBConnectionPool.named("orders").initialize(URI)
    await AsyncMongoDBConnectionPool.close(drain=1, timeout=2)
    await AsyncMongoDBConnectionPool.close_all()
    AsyncMongoDBConnectionPool.close_sync()


def twin() -> None:
    assert_type(TwinPool.initialize(URI, max_pool_size=5), MongoClient[Document])
    assert_type(TwinPool.get_client(), MongoClient[Document] | None)
    assert_type(TwinPool.get_database(), Database[Document])
    with TwinPool.scope(URI) as client:
        assert_type(client, MongoClient[Document])
    assert_type(TwinPool.get_pool_stats(), dict[str, Any])
    TwinPool.configure(lambda: URI)
    TwinPool.close()
    TwinPool.close_all()
