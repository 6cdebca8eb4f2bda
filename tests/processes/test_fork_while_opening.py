"""A fork while a client is being opened: the server sees its connections end when the parent closes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

ROOT = Path(__file__).parents[2]

SCRIPT = """
import asyncio, json, os, signal, socket, sys, threading, time
from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool

silent = socket.create_server(("127.0.0.1", 0))
uri = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/"
open_ones, lock, accepted = set(), threading.Lock(), threading.Event()

def serve(connection):
    with connection:
        while connection.recv(65536):
            accepted.set()
    with lock:
        open_ones.discard(connection)

def accept():
    while True:
        connection, _ = silent.accept()
        with lock:
            open_ones.add(connection)
        threading.Thread(target=serve, args=(connection,), daemon=True).start()

def open_pool():
    try:
        if sys.argv[1] == "sync":
            MongoDBConnectionPool.initialize(uri, timeout=1.5)
        else:
            asyncio.run(AsyncMongoDBConnectionPool.initialize(uri, backend=sys.argv[1], timeout=1.5))
    except Exception:
        pass

threading.Thread(target=accept, daemon=True).start()
opening = threading.Thread(target=open_pool)
opening.start()
assert accepted.wait(10)
time.sleep(0.1)
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
# The server's own ends were inherited as well, but only what the client's end does is looked at.
opening.join(20)
deadline = time.monotonic() + 10
while open_ones and time.monotonic() < deadline:
    time.sleep(0.02)
print(json.dumps({"open": len(open_ones)}))
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("backend", ["motor", "pymongo", "sync"])
def test_the_child_keeps_no_connection_of_a_client_that_is_being_opened(backend: str) -> None:
    command = [sys.executable, "-c", SCRIPT, backend]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"open": 0}
