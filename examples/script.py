"""A script: the pool is open for the length of a block.

MONGODB_URI=mongodb://localhost:27017 python examples/script.py
"""

from __future__ import annotations

import asyncio
import os

from async_mongo_pool import AsyncMongoDBConnectionPool as Pool

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")


async def main() -> None:
    async with Pool.scope(URI, maxPoolSize=20) as client:
        orders = client.example_script.orders
        await orders.insert_many([{"_id": number, "total": number * 10} for number in range(5)])
        try:
            async for order in orders.find({"total": {"$gte": 20}}).sort("total"):
                print(f"order {order['_id']}: {order['total']}")
            stats = await Pool.get_pool_stats()
            print(f"{stats['status']}, MongoDB {stats['server_version']}")
        finally:
            await client.drop_database("example_script")


if __name__ == "__main__":
    asyncio.run(main())
