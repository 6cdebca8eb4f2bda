from __future__ import annotations

import socket

import pytest

from async_mongo_pool.testing import Mongod, ServerError
from async_mongo_pool.testing.ports import HOST, PortReservation


def test_a_reserved_port_is_refused_to_others_until_it_is_released() -> None:
    first = PortReservation()
    with pytest.raises(ServerError, match=str(first.port)):
        PortReservation(first.port)
    first.release()
    PortReservation(first.port).release()


def test_a_port_that_somebody_listens_on_is_not_reserved() -> None:
    with socket.create_server((HOST, 0)) as listener, pytest.raises(ServerError, match="no free port"):
        PortReservation(listener.getsockname()[1])


def test_a_server_that_loses_its_port_takes_another() -> None:
    mongod = Mongod()
    try:
        mongod.launch()
        mongod.kill()
        with socket.create_server((HOST, mongod.port)) as listener:
            mongod._run()
            mongod.wait_ready()
            assert mongod.port != listener.getsockname()[1]
            assert mongod.connection_count() > 0
    finally:
        mongod.stop()
