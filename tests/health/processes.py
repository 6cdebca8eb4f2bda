"""Stories that need a process of their own; each prints what it saw as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool
from async_mongo_pool.health import AsyncHealthMonitor, HealthMonitor, SyncHealth
from async_mongo_pool.testing.waiting import wait_until


def fork(uri: str) -> dict[str, Any]:
    MongoDBConnectionPool.initialize(uri)
    monitor = HealthMonitor(MongoDBConnectionPool, 0.05)
    monitor.start()
    wait_until(lambda: monitor.status().ready)
    report: dict[str, Any] = {"before": [monitor.running, monitor.status().state]}
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        seen: dict[str, Any] = {}
        probe: Any = SyncHealth.readiness
        seen["child"] = [monitor.running, monitor.status().state, probe.__func__(MongoDBConnectionPool).state]
        MongoDBConnectionPool.initialize()
        monitor.start()
        wait_until(lambda: monitor.status().ready)
        seen["child_again"] = [monitor.running, monitor.status().state]
        monitor.stop()
        MongoDBConnectionPool.close()
        os.write(writer, json.dumps(seen).encode())
        os._exit(0)
    os.close(writer)
    report |= json.loads(os.read(reader, 65536))
    os.waitpid(child, 0)
    report["parent"] = [monitor.running, monitor.status().state]
    monitor.stop()
    MongoDBConnectionPool.close()
    return report


def leave_thread(uri: str) -> dict[str, Any]:
    MongoDBConnectionPool.initialize(uri)
    monitor = HealthMonitor(MongoDBConnectionPool, 3600)
    monitor.start()
    wait_until(lambda: monitor.status().ready)
    return {"running": monitor.running}


def leave_task(uri: str) -> dict[str, Any]:
    async def work() -> dict[str, Any]:
        await AsyncMongoDBConnectionPool.initialize(uri, backend="pymongo")
        monitor = AsyncHealthMonitor(AsyncMongoDBConnectionPool, 3600)
        await monitor.start()
        return {"running": monitor.running}

    return asyncio.run(work())


if __name__ == "__main__":
    story = {"fork": fork, "leave_thread": leave_thread, "leave_task": leave_task}[sys.argv[1]]
    sys.stdout.write(json.dumps(story(sys.argv[2])) + "\n")
